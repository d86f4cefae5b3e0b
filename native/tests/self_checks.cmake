# Programs that check and time the kernels without Python: `make sanitize` runs the checks, and
#   cmake -S . -B build/checks -DLEGATO_SELF_CHECKS=ON -DPython_EXECUTABLE=$PWD/.venv/bin/python
#   cmake --build build/checks --target linear_bench
# builds one of them at full speed.
option(LEGATO_SELF_CHECKS "Build the programs of native/tests" OFF)
if(LEGATO_SELF_CHECKS)
  # At -O3 a compiler takes many minutes for the instrumented kernels.
  set(level -O3)
  if(LEGATO_SANITIZE)
    set(level -O1)
  endif()
  foreach(kind linear attention sample)
    string(TOUPPER ${kind} upper)
    add_library(${kind}_kernels OBJECT ${LEGATO_${upper}_SOURCES})
    target_compile_options(${kind}_kernels PRIVATE ${level} -Wall -Wextra)
    add_executable(${kind}_test native/tests/${kind}_test.cpp native/simd.cpp)
    target_compile_options(${kind}_test PRIVATE ${level} -Wall -Wextra)
    target_link_libraries(${kind}_test PRIVATE ${kind}_kernels Threads::Threads)
  endforeach()
  target_sources(sample_test PRIVATE native/thread_pool.cpp)
  add_executable(linear_bench native/tests/linear_bench.cpp native/simd.cpp)
  target_compile_options(linear_bench PRIVATE ${level} -Wall -Wextra)
  target_link_libraries(linear_bench PRIVATE linear_kernels Threads::Threads)
endif()
