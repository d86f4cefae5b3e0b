set(LEGATO_LINEAR_DIR ${CMAKE_CURRENT_LIST_DIR})
set(LEGATO_LINEAR_SOURCES
    ${LEGATO_LINEAR_DIR}/linear.cpp
    ${LEGATO_LINEAR_DIR}/linear_portable.cpp
    ${LEGATO_LINEAR_DIR}/pack.cpp)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  list(APPEND LEGATO_LINEAR_SOURCES
       ${LEGATO_LINEAR_DIR}/linear_avx2.cpp
       ${LEGATO_LINEAR_DIR}/linear_avx512.cpp)
endif()

set(LEGATO_EXACT_FLAGS -ffp-contract=off)
# GCC takes the undefined values in its own AVX-512 headers for mistakes.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND LEGATO_EXACT_FLAGS -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
set_source_files_properties(${LEGATO_LINEAR_SOURCES} PROPERTIES COMPILE_OPTIONS
                                                                "${LEGATO_EXACT_FLAGS}")
set_source_files_properties(
  ${LEGATO_LINEAR_DIR}/linear_avx2.cpp
  PROPERTIES COMPILE_OPTIONS "${LEGATO_EXACT_FLAGS};-mavx2;-mfma;-mf16c")
set_source_files_properties(
  ${LEGATO_LINEAR_DIR}/linear_avx512.cpp
  PROPERTIES
    COMPILE_OPTIONS
    "${LEGATO_EXACT_FLAGS};-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-mfma;-mf16c")
