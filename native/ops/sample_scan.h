// Passes over a row of logits: maxima, masks, masses, collection of candidates.
#pragma once

#include "sample_kernels.h"
#include "vector_math.h"

namespace legato {
namespace {

constexpr int32_t kChunk = kSampleChunk;
constexpr float kMinusInfinity = -__builtin_inff();

inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// Values of a row; lanes past its end are -inf.
inline Floats load_row(const float* row, int32_t i, int32_t vocab) {
  if (i + kLanes <= vocab) return load(row + i);
  if (i >= vocab) return splat(kMinusInfinity);
  return load_first(row + i, vocab - i, kMinusInfinity);
}

// As the race sees the logits; forbidden tokens stay at -inf.
inline float value_of(const SampleRow& row, float logit) {
  return (logit - row.max) / row.temperature;
}
inline Floats load_values(const SampleRow& row, int32_t i) {
  const Floats shifted = load_row(row.logits, i, row.vocab) - splat(row.max);
  return row.temperature == 1.0f ? shifted : shifted / splat(row.temperature);
}

// Lanes that are above the limit.
inline Mask above(Limit limit, Floats values, Ints ids) {
  return (splat(limit.value) < values) |
         ((values == splat(limit.value)) & (ids < splat(limit.id)));
}

// Call visit(first token) for every chunk of the range.
template <class Visit>
inline void each_chunk(TokenRange range, Visit visit) {
  for (int32_t first = range.first; first < range.last; first += kChunk) visit(first);
}

// Running maxima of a scan.
struct Scanned {
  Mask nan = lane_range(0, 0);
  Floats most = splat(kMinusInfinity);
  void see(Floats x) {
    nan = nan | is_nan(x);
    most = maximum(most, x);
  }
  Scan result() const { return {max_lanes(most), any(nan)}; }
};

inline Scan scan(const float* logits, int32_t vocab, TokenRange range, float* chunk_max) {
  Scan all{kMinusInfinity, false};
  each_chunk(range, [&](int32_t first) {
    Scanned chunk;
    for (int32_t i = first; i < first + kChunk; i += kLanes) {
      chunk.see(load_row(logits, i, vocab));
    }
    const Scan found = chunk.result();
    chunk_max[first / kChunk] = found.max;
    all = {all.max > found.max ? all.max : found.max, all.nan || found.nan};
  });
  return all;
}

inline Mask mask_lanes(const uint32_t* mask, int32_t i, int32_t vocab) {
  if (mask == nullptr || i >= vocab) return lane_range(0, kLanes);
  return mask_of_bits(mask[i / 32] >> i % 32 & 0xffffu);
}

inline Scan copy_masked(const float* logits, int32_t vocab, TokenRange range, const uint32_t* mask,
                        float* target, float* chunk_max) {
  Scanned all;
  each_chunk(range, [&](int32_t first) {
    Floats most = splat(kMinusInfinity);
    for (int32_t i = first; i < first + kChunk; i += kLanes) {
      const Floats x = load_row(logits, i, vocab);
      all.see(x);
      const Floats kept = select(mask_lanes(mask, i, vocab), x, splat(kMinusInfinity));
      most = maximum(most, kept);
      store(target + i, kept);
    }
    chunk_max[first / kChunk] = max_lanes(most);
  });
  return all.result();
}

inline Scan refresh(const float* logits, int32_t vocab, float* chunk_max) {
  Scan all{kMinusInfinity, false};
  each_chunk({0, vocab}, [&](int32_t first) {
    float& most = chunk_max[first / kChunk];
    if (most != most) {
      const Scan found = scan(logits, vocab, {first, smaller(first + kChunk, vocab)}, chunk_max);
      all.nan = all.nan || found.nan;
    }
    all.max = all.max > most ? all.max : most;
  });
  return all;
}

inline int32_t find_first(const SampleRow& row) {
  int32_t chunk = 0;
  while (!(row.chunk_max[chunk] == row.max)) ++chunk;
  int32_t i = chunk * kChunk;
  while (!any(load_row(row.logits, i, row.vocab) == splat(row.max))) i += kLanes;
  while (!(row.logits[i] == row.max)) ++i;
  return i;
}

// Sum of weight(first token of a vector) over a chunk, in f32: eight terms a lane, in pairs.
template <class Weight>
inline Floats chunk_sum(int32_t first, Weight weight) {
  Floats sums[4];
  for (int32_t i = 0; i < 4; ++i) {
    sums[i] = weight(first + 2 * i * kLanes) + weight(first + (2 * i + 1) * kLanes);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

inline double mass_of_all(const SampleRow& row, TokenRange range) {
  Doubles sum = zero_doubles();
  each_chunk(range, [&](int32_t first) {
    sum = sum + chunk_sum(first, [&](int32_t i) { return exp_lanes(load_values(row, i)); });
  });
  return sum_lanes(sum);
}

inline double mass(const SampleRow& row, Limit limit, TokenRange range) {
  if (limit.value == kMinusInfinity) return mass_of_all(row, range);
  Doubles sum = zero_doubles();
  each_chunk(range, [&](int32_t first) {
    if (value_of(row, row.chunk_max[first / kChunk]) < limit.value) return;
    sum = sum + chunk_sum(first, [&](int32_t i) {
      const Floats values = load_values(row, i);
      const Mask inside = above(limit, values, lane_numbers() + splat(i));
      return select(inside, exp_lanes(values), splat(0.0f));
    });
  });
  return sum_lanes(sum);
}

inline void add(Candidates& to, Floats values, Ints ids, Mask which) {
  compress(to.values + to.count, values, which);
  to.count += compress(to.ids + to.count, ids, which);
}

inline int32_t collect(const SampleRow& row, float value, TokenRange range, float* values,
                       int32_t* ids) {
  Candidates list{values, ids, 0};
  each_chunk(range, [&](int32_t first) {
    if (value_of(row, row.chunk_max[first / kChunk]) < value) return;
    for (int32_t i = first; i < smaller(first + kChunk, row.vocab); i += kLanes) {
      const Floats x = load_values(row, i);
      const Mask which = (splat(value) <= x) & lane_range(0, smaller(row.vocab - i, kLanes));
      if (any(which)) add(list, x, lane_numbers() + splat(i), which);
    }
  });
  return list.count;
}

}  // namespace
}  // namespace legato
