// How queries meet keys and weights meet values. The kernel takes such a trait:
//   Source    element of the cache (or of the stage) that it reads
//   Element   of packed queries and of weights
//   Sum       sixteen sums of products
//   kGroup    dimensions of a key, or tokens of a value, that one multiply-add takes
//   kVector   elements of Source between two vectors of dimensions of a value
//   kColumns  tiles of 16 tokens, or vectors of 16 dimensions, in a register block
//   kStaged   whether many queries are worth converting keys and values to f32 first
//   kWhole    queries and weights are integers, keys and values have scales
#pragma once

#include <type_traits>

#include "attention_work.h"
#include "vector_math.h"
#include "vector_words.h"

namespace legato {
namespace {

constexpr float kInt8Levels = 127.0f;
constexpr float kWordLevels = 32767.0f;  // 512 dimensions or 256 tokens of int8 do not overflow

// Sixteen dimensions from d on; zeros past the last.
inline Floats dimensions(const float* source, int32_t d, int32_t head_dim) {
  if (d + kLanes <= head_dim) return load(source + d);
  return load_first(source + d, head_dim - d, 0.0f);
}

inline Floats size_of(Floats x) { return as_floats(bits(x) & splat(INT32_MAX)); }

// The largest |x|; NaN where one is not finite.
inline float largest_size(const float* source, int32_t head_dim) {
  Floats most = splat(0.0f), poison = splat(0.0f);
  for (int32_t d = 0; d < head_dim; d += kLanes) {
    const Floats size = size_of(dimensions(source, d, head_dim));
    most = maximum(most, size);
    poison = poison + size * splat(0.0f);
  }
  return max_lanes(most) + sum_lanes(poison);
}

// The nearest whole number within [-limit, limit]; NaN gives -limit.
inline Ints to_whole(Floats x, float limit) {
  return to_ints(minimum(maximum(x, splat(-limit)), splat(limit)));
}

// What all traits of float sums share.
struct FloatSums {
  using Sum = Floats;
  static constexpr bool kWhole = false;
  static Sum zero() { return splat(0.0f); }
  static Floats floats(Sum sum) { return sum; }
  static Floats exp2(Floats x, Floats minus) { return exp2_lanes(x - minus); }
};

// f32 queries and weights, in the order of their groups.
template <int kElements>
struct FloatQueries : FloatSums {
  using Element = float;
  // Store sixteen weights; returns them as they will count.
  static Floats put_weights(float* p, Floats x) {
    store(p, x);
    return x;
  }
  // Sixteen dimensions from d on of query `i` in a block of `width` queries.
  static void put_query(float* block, int32_t d, int32_t count, int32_t i, int32_t width,
                        Floats x) {
    float lanes[kLanes];
    store(lanes, x);
    for (int32_t j = 0; j < count; j += kElements) {
      std::memcpy(block + (d + j) * width + kElements * i, lanes + j, kElements * sizeof(float));
    }
  }
};

#if defined(LEGATO_VECTOR_AVX512)
constexpr int kFloatColumns = 4;
constexpr int kPairColumns = 2;
#else
constexpr int kFloatColumns = 1;
constexpr int kPairColumns = 1;
#endif

// f32 products of an f32 or f16 cache.
template <KVType kType>
struct FloatProducts : FloatQueries<1> {
  static constexpr bool kHalf = kType == KVType::F16;
  using Source = std::conditional_t<kHalf, uint16_t, float>;
  using Operand = Floats;
  static constexpr int kGroup = 1;
  static constexpr int kVector = kLanes;
  static constexpr int kColumns = kFloatColumns;
  static constexpr bool kStaged = true;

  static Floats read(const float* p) { return load(p); }
  static Floats read(const uint16_t* p) { return load_half(p); }
  static Operand key(const Source* tile, int32_t d) { return read(tile + d * kTile); }
  static Operand value(const Source* token) { return read(token); }
  static Operand last_value(const Source* token) { return read(token); }
  static Operand repeat(const float* group) { return splat(*group); }
  static Floats add(Operand a, Operand b, Floats sum) { return fma(a, b, sum); }
};

// f32 products of a bf16 cache: what a processor without products of bf16 does.
struct WidenedProducts : FloatQueries<2> {
  using Source = uint16_t;
  struct Operand {
    Floats first, second;
  };
  static constexpr int kGroup = 2;
  static constexpr int kVector = 2 * kLanes;
  static constexpr int kColumns = kPairColumns;
  static constexpr bool kStaged = false;

  static Ints pairs(const Source* p) { return load(reinterpret_cast<const int32_t*>(p)); }
  static Floats first_of(Ints both) { return as_floats(shift_left<16>(both)); }
  static Operand value(const Source* token) {
    const Ints both = pairs(token);
    return {first_of(both), as_floats(both & splat(static_cast<int32_t>(0xffff0000)))};
  }
  static Operand key(const Source* tile, int32_t d) { return value(tile + d * kTile); }
  // What follows the last token may not have been written.
  static Operand last_value(const Source* token) { return {first_of(pairs(token)), splat(0.0f)}; }
  static Operand repeat(const float* group) { return {splat(group[0]), splat(group[1])}; }
  static Floats add(const Operand& a, const Operand& b, Floats sum) {
    return fma(a.second, b.second, fma(a.first, b.first, sum));
  }
};

// Products of an int8 cache with queries and weights of 16 bits: exact sums of whole numbers.
struct WholeProducts {
  using Source = int8_t;
  using Element = int16_t;
  using Operand = Words;
  using Sum = Ints;
  static constexpr int kGroup = 2;
  static constexpr int kVector = 2 * kLanes;
  static constexpr int kColumns = kFloatColumns;
  static constexpr bool kStaged = false;
  static constexpr bool kWhole = true;

  static Sum zero() { return splat(0); }
  static Floats floats(Sum sum) { return to_floats(sum); }
  static Operand key(const Source* tile, int32_t d) { return load_bytes(tile + d * kTile); }
  static Operand value(const Source* token) { return load_bytes(token); }
  static Operand last_value(const Source* token) { return load_bytes(token); }
  static Operand repeat(const Element* group) { return splat_words(group); }
  static Sum add(Operand a, Operand b, Sum sum) { return add_products(a, b, sum); }
  static Floats exp2(Floats x, Floats minus) { return exp2_lanes(x - minus); }
  static void put_weights(Element* p, Floats x) { store_words(p, to_whole(x, kWordLevels)); }
  static void put_query(Element* block, int32_t d, int32_t count, int32_t i, int32_t width,
                        Floats x) {
    int16_t lanes[kLanes];
    store_words(lanes, to_whole(x, kWordLevels));
    for (int32_t j = 0; j < count; j += 2) {
      std::memcpy(block + (d + j) * width + 2 * i, lanes + j, 2 * sizeof *lanes);
    }
  }
};

}  // namespace
}  // namespace legato
