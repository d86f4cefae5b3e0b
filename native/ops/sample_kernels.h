// What each instruction set's file gives to sample_row.h, and what sample_order.cpp gives to both.
#pragma once

#include "sample.h"

namespace legato {

constexpr int32_t kSampleChunk = 128;     // tokens that share a maximum
constexpr int32_t kSampleSegment = 4096;  // tokens that are one piece of work, whoever does it

struct TokenRange {
  int32_t first, last;  // [first, last), first a multiple of kSampleChunk
};

// The largest of some values, and whether one of them is NaN.
struct Scan {
  float max;
  bool nan;
};

// A row of logits as a race sees it: value = (logit - max) / temperature.
struct SampleRow {
  const float* logits;     // [vocab]
  const float* chunk_max;  // largest logit of each chunk
  int32_t vocab;
  float max;
  float temperature;
};

// A token is above it if its value is larger, or equal and its id lower.
struct Limit {
  float value;
  int32_t id;
};

// Who won a race: the largest value + noise, the lowest id among equals.
struct Winner {
  float score;
  float value;
  int32_t id;  // -1: nobody took part
};

struct NoiseKey {
  uint32_t low, high;  // of the seed
  int32_t position, sample_index;
};

// Tokens that are left by top-k, by rising id. `values` and `ids` have a vector's room behind.
struct Candidates {
  float* values;
  int32_t* ids;
  int32_t count;
};

struct SampleKernels {
  // Fill chunk_max for the range.
  Scan (*scan)(const float* logits, int32_t vocab, TokenRange range, float* chunk_max);
  // The same of `target`, which becomes a copy of the logits with -inf where `mask` (null: none)
  // has no bit. The answer is about the logits themselves.
  Scan (*copy_masked)(const float* logits, int32_t vocab, TokenRange range, const uint32_t* mask,
                      float* target, float* chunk_max);
  // Compute again the chunk maxima that are NaN. The answer is about the whole row.
  Scan (*refresh)(const float* logits, int32_t vocab, float* chunk_max);
  // The lowest id with the value row.max.
  int32_t (*find_first)(const SampleRow& row);
  // Race of the tokens above `limit`. Who cannot beat the score `known` may be passed over.
  Winner (*race)(const SampleRow& row, const NoiseKey& key, Limit limit, float known,
                 TokenRange range);
  // Sum of e^value of the tokens above `limit`.
  double (*mass)(const SampleRow& row, Limit limit, TokenRange range);
  // Write the tokens of at least `value`; returns how many.
  int32_t (*collect)(const SampleRow& row, float value, TokenRange range, float* values,
                     int32_t* ids);
  // `race` and `mass` of a list.
  Winner (*race_list)(const Candidates& list, const NoiseKey& key, Limit limit);
  double (*mass_list)(const Candidates& list, Limit limit);
  // Reduce a list to its k largest, lower ids first among equals. work: room for all values.
  void (*keep_top_k)(Candidates& list, int32_t k, float* work);
  void (*noise)(const NoiseKey& key, int32_t count, uint32_t* words, float* noise);
};

const SampleKernels& sample_kernels(Simd simd);

extern const SampleKernels kSamplePortable;
extern const SampleKernels kSampleAvx2;
extern const SampleKernels kSampleAvx512;

// The k-th largest of n values, 1 <= k <= n; reorders them.
float kth_largest(float* values, int32_t n, int32_t k);

// Write the k first of n (value, id) pairs by falling value, lower ids first among equals.
void first_in_order(const float* values, const int32_t* ids, int32_t n, int32_t k,
                    int32_t* sorted_ids);

}  // namespace legato
