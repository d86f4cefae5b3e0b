// Passes over a whole row of logits: maxima, temperature, collection of candidates.
#pragma once

#include "sample_kernels.h"
#include "vector_math.h"

namespace legato {
namespace {

constexpr int32_t kChunk = 128;  // tokens that share a maximum
constexpr float kMinusInfinity = -__builtin_inff();
constexpr float kLowest = -3.402823466e38f;  // the least finite value: forbidden tokens lie below

constexpr int32_t chunks_of(int32_t vocab) { return (vocab + kChunk - 1) / kChunk; }
// Room for a row: writers may touch all lanes of their last vector.
constexpr int64_t padded_vocab(int32_t vocab) {
  return static_cast<int64_t>(chunks_of(vocab)) * kChunk + kLanes;
}

inline bool is_finite(float x) { return x - x == 0.0f; }
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// Values of a row; lanes past its end are -inf.
inline Floats load_row(const float* row, int32_t i, int32_t vocab) {
  if (i + kLanes <= vocab) return load(row + i);
  return load_first(row + i, vocab - i, kMinusInfinity);
}

struct Scan {
  float max;
  bool nan;
};

// The largest value, and that of each chunk.
inline Scan scan(const float* row, int32_t vocab, float* chunk_max) {
  Mask nan = lane_range(0, 0);
  float largest = kMinusInfinity;
  for (int32_t chunk = 0; chunk * kChunk < vocab; ++chunk) {
    const int32_t end = smaller((chunk + 1) * kChunk, vocab);
    Floats most = splat(kMinusInfinity);
    for (int32_t i = chunk * kChunk; i < end; i += kLanes) {
      const Floats x = load_row(row, i, vocab);
      nan = nan | is_nan(x);
      most = maximum(most, x);
    }
    chunk_max[chunk] = max_lanes(most);
    largest = largest > chunk_max[chunk] ? largest : chunk_max[chunk];
  }
  return {largest, any(nan)};
}

// The lowest id with this value, which the row holds.
inline int32_t find_first(const float* row, int32_t vocab, const float* chunk_max, float value) {
  int32_t chunk = 0;
  while (!(chunk_max[chunk] == value)) ++chunk;
  int32_t i = chunk * kChunk;
  while (!any(load_row(row, i, vocab) == splat(value))) i += kLanes;
  while (!(row[i] == value)) ++i;
  return i;
}

// target = (row - max) / temperature, with -inf up to the end of the last chunk. Returns the sum
// of e^target, which only top-p needs.
template <bool kSum>
double scale(const float* row, int32_t vocab, float max, float temperature, float* target,
             float* chunk_max) {
  Doubles sum = zero_doubles();
  for (int32_t chunk = 0; chunk * kChunk < vocab; ++chunk) {
    Floats most = splat(kMinusInfinity);
    for (int32_t i = chunk * kChunk; i < (chunk + 1) * kChunk; i += kLanes) {
      const Floats x = i < vocab ? load_row(row, i, vocab) : splat(kMinusInfinity);
      const Floats z = (x - splat(max)) / splat(temperature);
      store(target + i, z);
      most = maximum(most, z);
      if constexpr (kSum) sum = sum + exp_lanes(z);
    }
    chunk_max[chunk] = max_lanes(most);
  }
  return kSum ? sum_lanes(sum) : 0.0;
}

// log(sum of e^(row - max)).
inline double log_sum(const float* row, int32_t vocab, float max) {
  Doubles sum = zero_doubles();
  for (int32_t i = 0; i < vocab; i += kLanes) {
    sum = sum + exp_lanes(load_row(row, i, vocab) - splat(max));
  }
  return natural_log(sum_lanes(sum));
}

// Tokens still in the race, by rising id. Memory is the caller's: padded_vocab of each.
struct Candidates {
  float* values;
  int32_t* ids;
  int32_t count;
};

inline void add(Candidates& to, Floats values, Ints ids, Mask which) {
  compress(to.values + to.count, values, which);
  to.count += compress(to.ids + to.count, ids, which);
}

// All tokens with a value of at least `threshold`.
inline void collect(const float* row, int32_t vocab, const float* chunk_max, float threshold,
                    Candidates& to) {
  to.count = 0;
  for (int32_t chunk = 0; chunk * kChunk < vocab; ++chunk) {
    if (chunk_max[chunk] < threshold) continue;
    const int32_t end = smaller((chunk + 1) * kChunk, vocab);
    for (int32_t i = chunk * kChunk; i < end; i += kLanes) {
      const Floats x = load_row(row, i, vocab);
      const Mask which = (splat(threshold) <= x) & lane_range(0, smaller(vocab - i, kLanes));
      if (any(which)) add(to, x, lane_numbers() + splat(i), which);
    }
  }
}

}  // namespace
}  // namespace legato
