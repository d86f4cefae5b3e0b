// The kernels of sample_kernels.h over vector.h; an instruction set's file includes it.
#pragma once

#include "sample_race.h"

namespace legato {
namespace {

inline int32_t count_above(const Candidates& list, float border) {
  int32_t count = 0;
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Mask larger = (splat(border) < load(list.values + i)) & lanes_of(list, i);
    count += __builtin_popcount(bits_of_mask(larger));
  }
  return count;
}

// Keep values above the border, and the first `equals` of those equal to it.
inline void keep_best(Candidates& list, float border, int32_t equals) {
  Candidates kept{list.values, list.ids, 0};
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Mask inside = lanes_of(list, i);
    const Floats values = load(list.values + i);
    const Ints ids = load(list.ids + i);
    uint32_t tied = bits_of_mask((values == splat(border)) & inside);
    uint32_t chosen = 0;
    for (; tied != 0 && equals > 0; tied &= tied - 1, --equals) chosen |= tied & (~tied + 1);
    add(kept, values, ids, ((splat(border) < values) & inside) | mask_of_bits(chosen));
  }
  list.count = kept.count;
}

inline void keep_top_k(Candidates& list, int32_t k, float* work) {
  if (list.count <= k) return;
  std::memcpy(work, list.values, sizeof(float) * static_cast<size_t>(list.count));
  const float border = kth_largest(work, list.count, k);
  keep_best(list, border, k - count_above(list, border));
}

constexpr SampleKernels kKernels = {scan,    copy_masked, refresh,   find_first, race, mass,
                                    collect, race_list,   mass_list, keep_top_k, noise};

}  // namespace
}  // namespace legato
