# Programs that check and time the kernels without Python: `make sanitize` runs the checks, and
#   cmake -S . -B build/checks -DLEGATO_SELF_CHECKS=ON -DPython_EXECUTABLE=$PWD/.venv/bin/python
#   cmake --build build/checks --target linear_bench
# builds one of them at full speed.
option(LEGATO_SELF_CHECKS "Build the programs of native/tests" OFF)
if(LEGATO_SELF_CHECKS)
  foreach(kind linear attention sample)
    string(TOUPPER ${kind} upper)
    add_library(${kind}_kernels OBJECT ${LEGATO_${upper}_SOURCES})
    target_compile_options(${kind}_kernels PRIVATE ${LEGATO_LEVEL} -Wall -Wextra)
    add_executable(${kind}_test native/tests/${kind}_test.cpp native/simd.cpp)
    target_compile_options(${kind}_test PRIVATE ${LEGATO_LEVEL} -Wall -Wextra)
    target_link_libraries(${kind}_test PRIVATE ${kind}_kernels Threads::Threads)
  endforeach()
  target_sources(sample_test PRIVATE native/thread_pool.cpp)
  add_executable(linear_bench native/tests/linear_bench.cpp native/simd.cpp)
  target_compile_options(linear_bench PRIVATE ${LEGATO_LEVEL} -Wall -Wextra)
  target_link_libraries(linear_bench PRIVATE linear_kernels Threads::Threads)
endif()
