// The last op: from logits to token ids. The meaning of every field is in
// legato/backends/base.py (SamplingInput); the arithmetic is defined by legato/sampling.
// sample_row.h samples a row with a team of threads.
#pragma once

#include <cstdint>

#include "../formats.h"

namespace legato {

struct SamplingState {
  int32_t rows;
  int32_t vocab;
  const float *temperature, *top_p, *min_p, *presence, *frequency, *repetition;
  const int32_t* top_k;
  const uint64_t* seed;
  const uint32_t* sample_index;
  const int32_t* position;
  const int32_t *bias_starts, *bias_ids;
  const float* bias_values;
  const int32_t *seen_starts, *seen_ids, *seen_counts;
  const int32_t* num_logprobs;
  const int32_t* mask_index;
  const uint32_t* masks;
  int32_t max_logprobs;  // K: width of top_ids and top_logprobs
};

struct SamplingResult {
  int32_t* token_ids;    // [rows]
  float* logprobs;       // [rows]
  int32_t* top_ids;      // [rows, K]
  float* top_logprobs;   // [rows, K]
};

// Bytes of scratch that one call of sample_row needs.
int64_t sample_scratch_bytes(int32_t vocab);

// The random words and the Gumbel noise of tokens [0, count), as sample_row uses them.
void sample_noise(Simd simd, uint64_t seed, uint32_t sample_index, int32_t position, int32_t count,
                  uint32_t* words, float* noise);

}  // namespace legato
