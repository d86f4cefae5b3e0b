// The fastest int8 dot-product loop of each instruction set, for the probe.
#pragma once

#include <cstdint>

namespace legato {

// Run `rounds` rounds; returns the multiply-adds done and leaves a value that depends on them all.
using PeakKernel = int64_t (*)(int64_t rounds, int32_t* result);

int64_t int8_peak_portable(int64_t rounds, int32_t* result);
int64_t int8_peak_avx2(int64_t rounds, int32_t* result);
int64_t int8_peak_avx512(int64_t rounds, int32_t* result);

}  // namespace legato
