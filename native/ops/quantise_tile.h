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

// Writes one half (16 columns) of a block: planes and minus their sums. Returns the sum of
// 128 high + low.
template <class V>
inline __attribute__((always_inline)) int32_t write_half(typename V::F scaled, bool wide,
                                                         int8_t* high, int8_t* low,
                                                         int32_t* minus_high, int32_t* minus_low) {
  const auto q = V::round(scaled);
  const auto upper = wide ? V::upper_part(q) : q;
  const auto lower = wide ? V::lower_part(q, upper) : V::zero_int();
  V::store_bytes(high, upper);
  V::store_bytes(low, lower);
  *minus_high = -V::sum_int(upper);
  *minus_low = -V::sum_int(lower);
  return -(128 * *minus_high + *minus_low);
}

// The 32 values at `x` become entry `entry` of the tile.
template <class V>
inline __attribute__((always_inline)) void quantise_block(Precision precision, const float* x,
                                                          const ActivationTile& tile,
                                                          int64_t entry) {
  const auto first = V::load(x), second = V::load(x + 16);
  const float largest = V::largest(first, second);
  const float squares = V::sum(V::add(V::mul(first, first), V::mul(second, second)));
  const bool finite = squares - squares == 0.0f;
  const bool zero = !finite || largest < kSmallest;
  const bool peaked = largest * largest * kQuantBlock > kWideRatio * kWideRatio * squares;
  const bool wide =
      !zero && (precision == Precision::Exact || (precision == Precision::Balanced && peaked));
  const float levels = wide ? kWideLevels : kLevels;
  const auto factor = V::broadcast(zero ? 0.0f : levels / largest);
  const auto keep = [&](typename V::F value) {  // 0 * NaN is NaN, so a zero block is set to 0
    return zero ? V::zero() : V::mul(value, factor);
  };
  int8_t* high = tile.high + entry * kQuantBlock;
  int8_t* low = tile.low + entry * kQuantBlock;
  int32_t* minus_high = tile.minus_high + 2 * entry;
  int32_t* minus_low = tile.minus_low + 2 * entry;
  int32_t total = write_half<V>(keep(first), wide, high, low, minus_high, minus_low);
  total += write_half<V>(keep(second), wide, high + 16, low + 16, minus_high + 1, minus_low + 1);
  const float scale = zero ? squares - squares : largest / kLevels;  // 0, or NaN if not finite
  tile.scale[entry] = scale;
  tile.sum[entry] = scale * (static_cast<float>(total) * 0x1p-7f);
  tile.wide[entry] = wide ? 255 : 0;
}

template <class V>
void quantise(Precision precision, const float* x, int64_t row, int64_t first_column,
              int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised) {
  const ActivationTile tile = activation_tile(quantised, rows, columns, row / kTileRows);
  for (int64_t b = first_column / kQuantBlock; b < last_column / kQuantBlock; ++b) {
    quantise_block<V>(precision, x + b * kQuantBlock, tile, b * tile.rows + row % kTileRows);
  }
}

}  // namespace
}  // namespace legato
