// How queries meet keys and weights meet values, in f32. The kernel takes such a trait:
//   Source    element of the cache (or of the stage) that it reads
//   Element   of packed queries and of weights
//   kGroup    dimensions of a key, or tokens of a value, that one multiply-add takes
//   kVector   elements of Source between two vectors of dimensions of a value
//   Staged    the trait that reads operands that were converted once for many queries
#pragma once

#include "attention_work.h"
#include "vector_math.h"

namespace legato {
namespace {

// Sixteen dimensions from d on; zeros past the last.
inline Floats dimensions(const float* source, int32_t d, int32_t head_dim) {
  if (d + kLanes <= head_dim) return load(source + d);
  return load_first(source + d, head_dim - d, 0.0f);
}

struct FloatCache {
  using Element = float;
  static Floats read(const float* p) { return load(p); }
  static void write(float* p, Floats x) { store(p, x); }
};
struct HalfCache {
  using Element = uint16_t;
  static Floats read(const uint16_t* p) { return load_half(p); }
  static void write(uint16_t* p, Floats x) { store_half(p, x); }
};

template <typename Cache>
struct FloatProducts {
  using Source = typename Cache::Element;
  using Element = float;
  using Operand = Floats;
  using Staged = FloatProducts<FloatCache>;
  static constexpr int kGroup = 1;
  static constexpr int kVector = kLanes;

  static Operand key(const Source* tile, int32_t d) { return Cache::read(tile + d * kTile); }
  static Operand value(const Source* token, int32_t) { return Cache::read(token); }
  static Operand last_value(const Source* token) { return Cache::read(token); }
  static Operand repeat(const Element* group) { return splat(*group); }
  static Floats add(Operand a, Operand b, Floats sum) { return fma(a, b, sum); }
  static Floats exp2(Floats x) { return exp2_lanes(x); }
  static void put(Element* p, Operand x) { store(p, x); }
  // Store sixteen weights; returns them as they will count.
  static Floats put_weights(Element* p, Floats x) {
    store(p, x);
    return x;
  }
  // Sixteen dimensions from d on of query `i` in a block of `width` queries.
  static void put_query(Element* block, int32_t d, int32_t count, int32_t i, int32_t width,
                        Floats x) {
    float lanes[kLanes];
    store(lanes, x);
    for (int32_t j = 0; j < count; ++j) block[(d + j) * width + i] = lanes[j];
  }
};

}  // namespace
}  // namespace legato
