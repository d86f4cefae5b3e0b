// From a split's scores to its weights, and folding a split into what came before.
#pragma once

#include "attention_products.h"

namespace legato {
namespace {

inline Floats visible_or(Floats s, int32_t tile, int32_t first, int32_t last, float otherwise) {
  const int32_t start = tile * kTile;
  if (first <= start && start + kTile <= last) return s;
  const Mask visible = lane_range(larger(first - start, 0), smaller(last - start, kTile));
  return select(visible, s, splat(otherwise));
}

// Soft-capped scores in units of log2 e; queries were scaled accordingly.
inline void cap_scores(float* scores, int32_t first_tile, int32_t last_tile, float soft_cap) {
  const Floats cap = splat(soft_cap * kLog2E);
  for (int32_t i = first_tile; i < last_tile; ++i) {
    store(scores + i * kTile, tanh_lanes(load(scores + i * kTile)) * cap);
  }
}

// The tiles of a row between its first and last visible ones that it sees as a whole.
inline Range whole_tiles(Range range, int32_t first, int32_t last) {
  const int32_t begin = larger(range.begin, (first + kTile - 1) / kTile);
  return {begin, larger(begin, smaller(range.end, last / kTile))};
}

inline float max_score(const float* scores, Range range, int32_t first, int32_t last) {
  const Range whole = whole_tiles(range, first, last);
  Floats most = splat(kNothing);
  const auto edge = [&](int32_t i) {
    most = maximum(most, visible_or(load(scores + i * kTile), i, first, last, kNothing));
  };
  for (int32_t i = first / kTile; i < whole.begin; ++i) edge(i);
  for (int32_t i = whole.begin; i < whole.end; ++i) {
    most = maximum(most, load(scores + i * kTile));
  }
  for (int32_t i = whole.end; i * kTile < last; ++i) edge(i);
  return max_lanes(most);
}

struct Weighed {
  float sum;   // of the weights
  float unit;  // what one of an integer weight stands for
};

// Weights 2^(s - max), zero where not visible.
template <typename P>
Weighed weigh(const float* scores, const Span<typename P::Source>&, Range range, int32_t first,
              int32_t last, float max, typename P::Element* weights) {
  const Range whole = whole_tiles(range, first, last);
  const Floats zero = splat(0.0f), most = splat(max);
  Floats sum = zero;
  const auto edge = [&](int32_t i) {
    Floats p = zero;
    if (i * kTile < last && first < (i + 1) * kTile) {
      p = visible_or(P::exp2(load(scores + i * kTile), most), i, first, last, 0.0f);
    }
    sum = sum + P::put_weights(weights + i * kTile, p);
  };
  for (int32_t i = range.begin; i < whole.begin; ++i) edge(i);
  for (int32_t i = whole.begin; i < whole.end; ++i) {
    sum = sum + P::put_weights(weights + i * kTile, P::exp2(load(scores + i * kTile), most));
  }
  for (int32_t i = whole.end; i < range.end; ++i) edge(i);
  return {sum_lanes(sum), 1.0f};
}

// The same times the scales of the values, as whole numbers of a unit.
template <typename P>
  requires P::kWhole
Weighed weigh(float* scores, const Span<typename P::Source>& span, Range range, int32_t first,
              int32_t last, float max, typename P::Element* weights) {
  const Floats zero = splat(0.0f);
  Floats sum = zero, most = zero, poison = zero;
  for (int32_t i = range.begin; i < range.end; ++i) {
    Floats scaled = zero;
    if (i * kTile < last && first < (i + 1) * kTile) {
      const Floats p = P::exp2(load(scores + i * kTile), splat(max));
      sum = sum + visible_or(p, i, first, last, 0.0f);
      scaled = visible_or(p * load(span.value_scales[i]), i, first, last, 0.0f);
    }
    most = maximum(most, scaled);
    poison = poison + scaled * zero;  // the maximum may lose a NaN
    store(scores + i * kTile, scaled);
  }
  const float largest = max_lanes(most) + sum_lanes(poison);
  const Floats levels = splat(largest > 0 ? kWordLevels / largest : 0.0f);
  for (int32_t i = range.begin; i < range.end; ++i) {
    P::put_weights(weights + i * kTile, load(scores + i * kTile) * levels);
  }
  return {sum_lanes(sum), largest / kWordLevels};
}

// The m of kR queries grows to that of a split; leaves the factors on what was folded before and
// on the split. All queries take part, also those whose `max` is kNothing.
template <int kR>
void raise_max(Work& work, int32_t row, const float* max) {
  float past[kLanes] = {}, present[kLanes] = {};
  for (int r = 0; r < kR; ++r) {
    const float before = work.max[row + r];
    const float most = before > max[r] ? before : max[r];
    if (most == kNothing) continue;  // nothing seen yet
    past[r] = before - most;
    present[r] = max[r] - most;
    work.max[row + r] = most;
  }
  store(past, exp2_lanes(load(past)));
  store(present, exp2_lanes(load(present)));
  for (int r = 0; r < kR; ++r) {
    work.keep[row + r] = past[r];
    work.take[row + r] = present[r];
  }
}

inline void add_weighed(Work& work, int32_t i, Weighed weighed) {
  work.weight_unit[i] = weighed.unit;
  work.sum[i] = work.sum[i] * work.keep[i] + weighed.sum * work.take[i];
}

// The weights of kR queries from their scores; a query that sees nothing has weights 0.
template <typename P, int kR>
void softmax(float* scores, const Span<typename P::Source>& span, Range range, float soft_cap,
             Work& work, int32_t row, typename P::Element* weights) {
  float max[kR];
  for (int r = 0; r < kR; ++r) {
    const int32_t first = work.first[row + r], last = work.last[row + r];
    float* from = scores + r * kSplit;
    if (soft_cap > 0) cap_scores(from, first / kTile, (last + kTile - 1) / kTile, soft_cap);
    max[r] = last > first ? max_score(from, range, first, last) : kNothing;
  }
  raise_max<kR>(work, row, max);
  for (int r = 0; r < kR; ++r) {
    const int32_t first = work.first[row + r], last = work.last[row + r];
    const Weighed weighed = weigh<P>(scores + r * kSplit, span, range, last > first ? first : 0,
                                     last > first ? last : 0, max[r], weights + r * kSplit);
    if (last > first) add_weighed(work, row + r, weighed);
  }
}

}  // namespace
}  // namespace legato
