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

inline float max_score(const float* scores, int32_t first, int32_t last) {
  Floats most = splat(kNothing);
  for (int32_t i = first / kTile; i * kTile < last; ++i) {
    most = maximum(most, visible_or(load(scores + i * kTile), i, first, last, kNothing));
  }
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
  const Floats zero = splat(0.0f);
  Floats sum = zero;
  for (int32_t i = range.begin; i < range.end; ++i) {
    Floats p = zero;
    if (i * kTile < last && first < (i + 1) * kTile) {
      p = visible_or(P::exp2(load(scores + i * kTile) - splat(max)), i, first, last, 0.0f);
    }
    sum = sum + P::put_weights(weights + i * kTile, p);
  }
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
      const Floats p = P::exp2(load(scores + i * kTile) - splat(max));
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

// Fold a split's m and l into those of query i, and leave the factors for o.
inline void fold(Work& work, int32_t i, float max, Weighed weighed) {
  const float most = work.max[i] > max ? work.max[i] : max;
  const float differences[kLanes] = {work.max[i] - most, max - most};
  float factors[kLanes];
  store(factors, exp2_lanes(load(differences)));
  work.keep[i] = factors[0];
  work.take[i] = factors[1];
  work.weight_unit[i] = weighed.unit;
  work.sum[i] = work.sum[i] * factors[0] + weighed.sum * factors[1];
  work.max[i] = most;
}

template <typename P>
void softmax(float* scores, const Span<typename P::Source>& span, Range range, float soft_cap,
             Work& work, int32_t i, typename P::Element* weights) {
  const int32_t first = work.first[i];
  const int32_t last = work.last[i];
  if (last <= first) {
    weigh<P>(scores, span, range, 0, 0, 0.0f, weights);
    return;
  }
  if (soft_cap > 0) cap_scores(scores, first / kTile, (last + kTile - 1) / kTile, soft_cap);
  const float max = max_score(scores, first, last);
  fold(work, i, max, weigh<P>(scores, span, range, first, last, max, weights));
}

}  // namespace
}  // namespace legato
