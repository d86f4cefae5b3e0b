// Activations to blocks of int8 digits, over the vectors V of one instruction set.
#pragma once

#include "activations.h"
#include "linear.h"
#include "panel.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

constexpr float kLevels = kCrossedUp;             // of q
constexpr float kSpikeLevels = 127.0f * 16 + 7;   // of q + 16 spike
constexpr float kHighLevels = 127.0f * 128 + 63;  // of q + 128 high
constexpr float kSmallest = 1e-30f;  // below it scales and their products are subnormal

constexpr int64_t kTogether = 16;  // blocks whose steps are taken in turn, to overlap their waits

// Magnitudes of a block, as bits of an f32 (they order alike; NaN and infinity come last).
struct BlockPeaks {
  int32_t most;   // of all columns; its three lowest bits may be replaced
  int32_t rest;   // outside of the group of 4 columns that has `most`, likewise
  int32_t group;  // that group
};

// How a block is quantised: q = round(x * factor), x = scale * q.
struct BlockScale {
  float factor;
  float scale;
};

inline __attribute__((always_inline)) BlockScale choose_scale(Precision precision,
                                                              const BlockPeaks& peaks) {
  const float most = __builtin_bit_cast(float, peaks.most);
  const float rest = __builtin_bit_cast(float, peaks.rest);
  float scale = most * (1.0f / kLevels);
  if (precision == Precision::Exact) scale = most * (1.0f / kHighLevels);
  if (precision == Precision::Balanced) {
    const float spiked = most * (1.0f / kSpikeLevels), plain = rest * (1.0f / kLevels);
    scale = spiked > plain ? spiked : plain;
  }
  const float spoilt = most - most;  // 0, or NaN where x is not finite
  return spoilt == 0.0f && most >= kSmallest ? BlockScale{1.0f / scale, scale}
                                             : BlockScale{0.0f, spoilt};
}

// V measures a block, and writes it with a spike in a group (none: kGroups) or with high digits.
template <class V>
void quantise(Precision precision, const float* x, int64_t row, int64_t first_column,
              int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised) {
  const ActivationTile tile = activation_tile(quantised, rows, columns, row / kTileRows);
  const int64_t last = last_column / kQuantBlock;
  const bool spiked = precision == Precision::Balanced;
  BlockPeaks peaks[kTogether];
  BlockScale scales[kTogether];
  for (int64_t b = first_column / kQuantBlock; b < last; b += kTogether) {
    const int64_t count = last - b < kTogether ? last - b : kTogether;
    for (int64_t i = 0; i < count; ++i) peaks[i] = V::measure(x + (b + i) * kQuantBlock);
    for (int64_t i = 0; i < count; ++i) scales[i] = choose_scale(precision, peaks[i]);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t entry = (b + i) * tile.rows + row % kTileRows;
      const float* from = x + (b + i) * kQuantBlock;
      ActivationBlock& block = tile.blocks[entry];
      if (precision == Precision::Exact) {
        V::write_high(from, scales[i], block, tile.high + entry * kQuantBlock);
      } else {
        V::write_spike(from, scales[i], spiked ? peaks[i].group : kGroups, block);
      }
    }
  }
}

}  // namespace
}  // namespace legato
