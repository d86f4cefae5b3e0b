// Top-k, top-p and min-p without sorting: find the value at the border, then keep what lies above
// it and the lowest ids of those equal to it.
#pragma once

#include "sample_scan.h"

namespace legato {
namespace {

// Lanes of a vector that starts at element i of n.
inline Mask lanes_left(int32_t n, int32_t i) { return lane_range(0, smaller(n - i, kLanes)); }

// Keep values above the border, and the first `equals` of those equal to it.
inline void keep_best(Candidates& list, float border, int32_t equals) {
  const int32_t n = list.count;
  list.count = 0;
  for (int32_t i = 0; i < n; i += kLanes) {
    const Floats x = load(list.values + i);
    const Ints ids = load(list.ids + i);
    const Mask above = splat(border) < x;
    uint32_t tied = bits_of_mask((x == splat(border)) & lanes_left(n, i));
    uint32_t chosen = 0;
    for (; tied != 0 && equals > 0; tied &= tied - 1, --equals) chosen |= tied & (~tied + 1);
    add(list, x, ids, (above & lanes_left(n, i)) | mask_of_bits(chosen));
  }
}

inline int32_t count_above(const Candidates& list, float border) {
  int32_t count = 0;
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Mask above = (splat(border) < load(list.values + i)) & lanes_left(list.count, i);
    count += __builtin_popcount(bits_of_mask(above));
  }
  return count;
}

inline void keep_top_k(Candidates& list, int32_t k, float* work) {
  if (list.count <= k) return;
  std::memcpy(work, list.values, sizeof(float) * static_cast<size_t>(list.count));
  const float border = kth_largest(work, list.count, k);
  keep_best(list, border, k - count_above(list, border));
}

// A value that at least k tokens reach: the k-th largest of the chunks' own maxima.
inline float bound_of_top_k(const float* chunk_max, int32_t vocab, int32_t k, float* work) {
  const int32_t chunks = chunks_of(vocab);
  if (k > chunks) return kMinusInfinity;
  std::memcpy(work, chunk_max, sizeof(float) * static_cast<size_t>(chunks));
  return kth_largest(work, chunks, k);
}

inline float exp_of(float x) {
  float lanes[kLanes];
  store(lanes, exp_lanes(splat(x)));
  return lanes[0];
}

inline double weigh(const Candidates& list, float* weights) {
  Doubles sum = zero_doubles();
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Floats w = exp_lanes(load(list.values + i));
    const Floats inside = select(lanes_left(list.count, i), w, splat(0.0f));
    store(weights + i, inside);
    sum = sum + inside;
  }
  return sum_lanes(sum);
}

// What is still undecided in the search for the border of top-p.
struct Undecided {
  float* values;
  float* weights;
  int32_t count;
};

struct Masses {
  double above, equal;
};

inline Masses masses_about(const Undecided& set, float pivot) {
  Doubles above = zero_doubles();
  Doubles equal = zero_doubles();
  const Floats zero = splat(0.0f);
  for (int32_t i = 0; i < set.count; i += kLanes) {
    const Floats x = load(set.values + i);
    const Floats w = select(lanes_left(set.count, i), load(set.weights + i), zero);
    above = above + select(splat(pivot) < x, w, zero);
    equal = equal + select(x == splat(pivot), w, zero);
  }
  return {sum_lanes(above), sum_lanes(equal)};
}

// Keep the values above the pivot, or those below it.
inline void narrow(Undecided& set, float pivot, bool above) {
  const int32_t n = set.count;
  set.count = 0;
  for (int32_t i = 0; i < n; i += kLanes) {
    const Floats x = load(set.values + i);
    const Floats w = load(set.weights + i);
    const Mask wanted = above ? splat(pivot) < x : x < splat(pivot);
    const Mask which = wanted & lanes_left(n, i);
    compress(set.values + set.count, x, which);
    set.count += compress(set.weights + set.count, w, which);
  }
}

inline float middle_of_three(float a, float b, float c) {
  const float low = a < b ? a : b;
  const float high = a < b ? b : a;
  return c < low ? low : (c > high ? high : c);
}

struct Border {
  float value;
  int32_t equals;  // how many of the tokens with this value are kept
};

// The border at which the mass of all values above it and of `equals` at it reaches `target`:
// quickselect on masses.
inline Border find_border(Undecided set, double target) {
  double before = 0;
  while (set.count > 0) {
    const float pivot = middle_of_three(set.values[0], set.values[set.count / 2],
                                        set.values[set.count - 1]);
    const Masses mass = masses_about(set, pivot);
    if (mass.above > 0 && before + mass.above >= target) {
      narrow(set, pivot, true);
      continue;
    }
    if (before + mass.above + mass.equal >= target) {
      const double weight = exp_of(pivot);
      const double wanted = __builtin_ceil((target - before - mass.above) / weight);
      return {pivot, wanted < 1 ? 1 : static_cast<int32_t>(wanted)};
    }
    before += mass.above + mass.equal;
    narrow(set, pivot, false);
  }
  return {kMinusInfinity, 0};
}

// `total`: the sum of e^value over everything that top-p chooses from, of which the list holds
// at least the share p.
inline void keep_top_p(Candidates& list, double p, double total, float* work, float* weights) {
  std::memcpy(work, list.values, sizeof(float) * static_cast<size_t>(list.count));
  weigh(list, weights);
  const Border border = find_border({work, weights, list.count}, p * total);
  keep_best(list, border.value, border.equals);
}

// The least f32 that is not below log(min_p): z >= it exactly where e^z >= min_p.
inline float bound_of_min_p(float min_p) {
  const double exact = natural_log(min_p);
  const float near = static_cast<float>(exact);
  return static_cast<double>(near) < exact ? __builtin_nextafterf(near, 1e30f) : near;
}

// Any token below this value lies outside top-p: all such tokens together weigh less than 1 - p.
inline float bound_of_top_p(double p, double total, int32_t vocab) {
  return static_cast<float>(natural_log((1.0 - p) * total / vocab)) - 1e-3f;
}

}  // namespace
}  // namespace legato
