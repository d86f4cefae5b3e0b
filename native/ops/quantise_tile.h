// Activations to int8 planes, over the vectors V of one instruction set.
#pragma once

#include "activations.h"
#include "linear.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

constexpr float kLevels = 127.0f;               // of one plane
constexpr float kWideLevels = 127.0f * 128.0f;  // of both
constexpr float kSmallest = 1e-30f;             // below it scales and their products are subnormal
constexpr float kWideRatio = 4.0f;              // a block is wide when max |x| > 4 rms

constexpr int64_t kTogether = 16;  // blocks whose steps are taken in turn, to overlap their waits

// What decides how a block is quantised.
struct BlockSize {
  float largest;  // max |x|
  float squares;  // sum of x^2, not finite where x is not
};

// How a block is quantised: q = x * factor, split by `shift` bits; x = scale * q / 2^shift.
struct BlockScale {
  float factor;
  float scale;
  int shift;  // 7 for a wide block; 0 for a narrow one, whose low plane is then 0
  bool zero;
};

template <class V>
inline __attribute__((always_inline)) BlockSize measure(const float* x) {
  const auto first = V::load(x), second = V::load(x + 16);
  return {V::largest(first, second), V::sum(V::add(V::mul(first, first), V::mul(second, second)))};
}

inline __attribute__((always_inline)) BlockScale choose_scale(Precision precision, BlockSize size) {
  const float spoilt = size.squares - size.squares;  // 0, or NaN where x is not finite
  const bool zero = (spoilt != 0.0f) | (size.largest < kSmallest);
  const float peak = size.largest * size.largest * kQuantBlock;
  const bool peaked = peak > kWideRatio * kWideRatio * size.squares;
  const bool wide = (precision == Precision::Exact) | ((precision == Precision::Balanced) & peaked);
  const float levels = wide ? kWideLevels : kLevels;
  if (zero) return {0.0f, spoilt, 0, true};
  return {levels / size.largest, size.largest * (1.0f / kLevels), wide ? 7 : 0, false};
}

// The 32 values at `x` become entry `entry` of the tile.
template <class V>
inline __attribute__((always_inline)) void write_block(const float* x, const BlockScale& how,
                                                       const ActivationTile& tile,
                                                       int64_t entry) {
  const auto factor = V::broadcast(how.factor);
  auto first = V::mul(V::load(x), factor), second = V::mul(V::load(x + 16), factor);
  if (how.zero) first = second = V::zero();  // x may be NaN, which no factor turns into 0
  const auto q = V::round(first, second);
  const auto high = V::upper_part(q, how.shift);
  const auto low = V::lower_part(q, high, how.shift);
  V::write_bytes(tile.high + entry * kQuantBlock, high);
  V::write_bytes(tile.low + entry * kQuantBlock, low);
  const int32_t total = V::write_sums(tile.minus + 4 * entry, high, low);
  tile.scale[entry] = how.scale;
  tile.sum[entry] = how.scale * (static_cast<float>(total) * 0x1p-7f);
  tile.wide[entry] = how.shift ? 255 : 0;
}

template <class V>
void quantise(Precision precision, const float* x, int64_t row, int64_t first_column,
              int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised) {
  const ActivationTile tile = activation_tile(quantised, rows, columns, row / kTileRows);
  const int64_t last = last_column / kQuantBlock;
  BlockScale scales[kTogether];
  for (int64_t b = first_column / kQuantBlock; b < last; b += kTogether) {
    const int64_t count = last - b < kTogether ? last - b : kTogether;
    for (int64_t i = 0; i < count; ++i) {
      scales[i] = choose_scale(precision, measure<V>(x + (b + i) * kQuantBlock));
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t entry = (b + i) * tile.rows + row % kTileRows;
      write_block<V>(x + (b + i) * kQuantBlock, scales[i], tile, entry);
    }
  }
}

}  // namespace
}  // namespace legato
