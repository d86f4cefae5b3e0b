// Sixteen lanes of f32 or i32, at the instruction set that the including file names by defining
// LEGATO_VECTOR_AVX512, LEGATO_VECTOR_AVX2 or LEGATO_VECTOR_PORTABLE.
//
// Everything is in an unnamed namespace: each source file is compiled with its own -m flags, and
// the linker must not share a function between them. For the same reason such a file keeps away
// from library templates.
#pragma once

#include <cstdint>
#include <cstring>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wpsabi"

#if defined(LEGATO_VECTOR_AVX512)
#include "vector_avx512.h"
#elif defined(LEGATO_VECTOR_AVX2)
#include "vector_avx2.h"
#elif defined(LEGATO_VECTOR_PORTABLE)
#include "vector_portable.h"
#else
#error "define LEGATO_VECTOR_AVX512, LEGATO_VECTOR_AVX2 or LEGATO_VECTOR_PORTABLE"
#endif

namespace legato {
namespace {

constexpr int kLanes = 16;

inline Ints lane_numbers() {
  const int32_t numbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(numbers);
}

// Lanes [first, last).
inline Mask lane_range(int first, int last) {
  return mask_of_bits(((1u << last) - 1) & ~((1u << first) - 1));
}

// The first `count` values, the rest `fill`. Reads no more.
inline Floats load_first(const float* p, int count, float fill) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? p[i] : fill;
  return load(lanes);
}

// Reductions add (compare) lanes i and i + 8, then i + 4, i + 2, i + 1.
#if !defined(LEGATO_VECTOR_AVX512)
inline float sum_lanes(Floats a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}
inline float max_lanes(Floats a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    }
  }
  return lanes[0];
}
#endif
inline double sum_lanes(Doubles a) {
  double lanes[kLanes];
  store(lanes, a);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

}  // namespace
}  // namespace legato

#pragma GCC diagnostic pop
