# Drafters. Their sums and products are those of the Python ones to the bit.
set(LEGATO_DRAFT_SOURCES)
foreach(source acceptance automaton book chains depth lookup ngram_memory ngram_table recall suffix suffix_memory)
  list(APPEND LEGATO_DRAFT_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${source}.cpp)
endforeach()
set_source_files_properties(${LEGATO_DRAFT_SOURCES} PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
