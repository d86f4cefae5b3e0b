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
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND LEGATO_EXACT_FLAGS -Wno-maybe-uninitialized)
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

option(LEGATO_LINEAR_TESTS "Build linear_test and linear_bench, which need no Python" OFF)
if(LEGATO_LINEAR_TESTS)
  find_package(Threads REQUIRED)
  foreach(program linear_test linear_bench)
    add_executable(${program} ${LEGATO_LINEAR_DIR}/../tests/${program}.cpp
                              ${LEGATO_LINEAR_DIR}/../simd.cpp ${LEGATO_LINEAR_SOURCES})
    target_compile_options(${program} PRIVATE -O3 -Wall -Wextra)
    target_link_libraries(${program} PRIVATE Threads::Threads)
  endforeach()
endif()
