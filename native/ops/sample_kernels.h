// What each instruction set's file gives to sample.cpp, and what it takes from sample_order.cpp.
#pragma once

#include "sample.h"

namespace legato {

struct SampleKernels {
  void (*row)(const SamplingState&, int32_t row, const float* logits, const SamplingResult&,
              uint8_t* scratch);
  void (*noise)(uint64_t seed, uint32_t sample_index, int32_t position, int32_t count,
                uint32_t* words, float* noise);
};

extern const SampleKernels kSamplePortable;
extern const SampleKernels kSampleAvx2;
extern const SampleKernels kSampleAvx512;

// The k-th largest of n values, 1 <= k <= n; reorders them.
float kth_largest(float* values, int32_t n, int32_t k);

// Write the k first of n (value, id) pairs by falling value, lower ids first among equals.
void first_in_order(const float* values, const int32_t* ids, int32_t n, int32_t k,
                    int32_t* sorted_ids);

double natural_log(double x);

}  // namespace legato
