# The language, the compiler and its sanitizers, for the module and for the programs of native/tests.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(LEGATO_SANITIZE "" CACHE STRING "Sanitizers to build with, such as address,undefined")
# Instrumented kernels take a compiler many minutes at -O3.
set(LEGATO_LEVEL -O3)
if(LEGATO_SANITIZE)
  set(LEGATO_LEVEL -O1)
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

include(CheckCXXSourceCompiles)
set(CMAKE_REQUIRED_FLAGS "-std=c++20")
check_cxx_source_compiles("
  #include <atomic>
  #include <bit>
  int main() { std::atomic<int> a{1}; a.wait(0); return std::bit_cast<int>(0.0f); }"
  LEGATO_HAS_CXX20)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT LEGATO_HAS_CXX20)
  message(FATAL_ERROR "${CMAKE_CXX_COMPILER} cannot compile C++20: "
                      "install g++ 11 or clang 14 or newer, or set CXX to one.")
endif()

if(LEGATO_SANITIZE)
  add_compile_options(-fsanitize=${LEGATO_SANITIZE} -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${LEGATO_SANITIZE})
endif()
find_package(Threads REQUIRED)
