# The sampler: one source for each instruction set.
set(LEGATO_SAMPLE_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/sample.cpp
    ${CMAKE_CURRENT_LIST_DIR}/sample_order.cpp
    ${CMAKE_CURRENT_LIST_DIR}/sample_portable.cpp)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/sample_portable.cpp
    PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-Wno-psabi")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  list(APPEND LEGATO_SAMPLE_SOURCES
      ${CMAKE_CURRENT_LIST_DIR}/sample_avx2.cpp
      ${CMAKE_CURRENT_LIST_DIR}/sample_avx512.cpp)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/sample_avx2.cpp
      PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-mavx2;-mfma;-mf16c")
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/sample_avx512.cpp
      PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-Wno-maybe-uninitialized;-Wno-uninitialized")
endif()
