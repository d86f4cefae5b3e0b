# Attention and the KV append: one source for each instruction set.
set(LEGATO_ATTENTION_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/attention.cpp
    ${CMAKE_CURRENT_LIST_DIR}/attention_portable.cpp)
set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/attention_portable.cpp
    PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-Wno-psabi")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  list(APPEND LEGATO_ATTENTION_SOURCES
      ${CMAKE_CURRENT_LIST_DIR}/attention_avx2.cpp
      ${CMAKE_CURRENT_LIST_DIR}/attention_avx512.cpp
      ${CMAKE_CURRENT_LIST_DIR}/attention_avx512_bf16.cpp)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/attention_avx2.cpp
      PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-mavx2;-mfma;-mf16c")
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/attention_avx512.cpp
      PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-Wno-maybe-uninitialized;-Wno-uninitialized")
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/attention_avx512_bf16.cpp
      PROPERTIES COMPILE_OPTIONS "${LEGATO_LEVEL};-ffp-contract=off;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-mavx512bf16;-Wno-maybe-uninitialized;-Wno-uninitialized")
endif()
