// The two ceilings of this machine that every benchmark quotes beside its figures.
#pragma once

#include <cstdint>

namespace legato {

// GB/s at which `threads` threads together read `bytes` of memory, best of a few passes.
double measure_bandwidth(int threads, int64_t bytes);

// 10⁹ int8 multiply-adds a second of `threads` threads together, in registers alone.
double measure_int8_peak(int threads);

}  // namespace legato
