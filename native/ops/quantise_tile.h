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

// Four blocks of a row are quantised together: what is found of each is an element of these.
constexpr int kTogether = 4;
constexpr int kAhead = 4;  // fours are measured before they are written, to overlap their waits
typedef int32_t Ints4 __attribute__((vector_size(4 * kTogether)));
typedef float Floats4 __attribute__((vector_size(4 * kTogether)));

// Magnitudes, as bits of an f32 (they order alike; NaN and infinity come last).
struct Peaks {
  Ints4 most;   // of all columns; its three lowest bits may be replaced
  Ints4 rest;   // outside of the group of 4 columns that has `most`, likewise
  Ints4 group;  // that group
};

// How blocks are quantised: q = round(x * factor), x = scale * q.
struct Scales {
  Floats4 factor;
  Floats4 scale;
};

template <Precision kPrecision>
Scales choose_scales(const Peaks& peaks) {
  const Floats4 most = __builtin_bit_cast(Floats4, peaks.most);
  Floats4 scale = most * (1.0f / (kPrecision == Precision::Exact ? kHighLevels : kLevels));
  if constexpr (kPrecision == Precision::Balanced) {
    const Floats4 rest = __builtin_bit_cast(Floats4, peaks.rest);
    const Floats4 spiked = most * (1.0f / kSpikeLevels), plain = rest * (1.0f / kLevels);
    scale = spiked > plain ? spiked : plain;
  }
  const Floats4 zero{};
  const Floats4 spoilt = most - most;  // 0, or NaN where x is not finite
  const Ints4 usable = (spoilt == zero) & (most >= zero + kSmallest);
  return {usable ? 1.0f / scale : zero, usable ? scale : spoilt};
}

// Four neighbouring blocks of a row, and where they and their high digits go. Where fewer are left,
// the last one stands for the others too.
struct Blocks {
  const float* x[kTogether];
  ActivationBlock* out[kTogether];
  int8_t* high[kTogether];
  int count;
};

// Blocks first .. of row `row`, `left` of them.
inline __attribute__((always_inline)) Blocks blocks_of(const float* x, const ActivationTile& tile,
                                                       int64_t row, int64_t first, int64_t left) {
  Blocks blocks;
  for (int k = 0; k < kTogether; ++k) {
    const int64_t b = first + (k < left ? k : left - 1);
    const int64_t entry = b * tile.rows + row % kTileRows;
    blocks.x[k] = x + b * kQuantBlock;
    blocks.out[k] = tile.blocks + entry;
    blocks.high[k] = tile.high + entry * kQuantBlock;
  }
  blocks.count = static_cast<int>(left < kTogether ? left : kTogether);
  return blocks;
}

// V measures blocks, and writes them with the upper digits of a precision.
template <class V, Precision kPrecision>
void quantise_as(const float* x, int64_t row, int64_t first_column, int64_t last_column,
                 const ActivationTile& tile) {
  Ints4 group[kAhead];
  Scales scales[kAhead];
  const int64_t last = last_column / kQuantBlock;
  for (int64_t b = first_column / kQuantBlock; b < last; b += kAhead * kTogether) {
    for (int i = 0; i < kAhead; ++i) {
      const int64_t first = b + i * kTogether;
      if (first >= last) break;
      const Peaks peaks = V::measure(blocks_of(x, tile, row, first, last - first));
      group[i] = peaks.group;
      scales[i] = choose_scales<kPrecision>(peaks);
    }
    for (int i = 0; i < kAhead; ++i) {
      const int64_t first = b + i * kTogether;
      if (first >= last) break;
      const Blocks blocks = blocks_of(x, tile, row, first, last - first);
      V::template write<kPrecision>(blocks, group[i], scales[i]);
    }
  }
}

template <class V>
void quantise(Precision precision, const float* x, int64_t row, int64_t first_column,
              int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised) {
  const ActivationTile tile = activation_tile(quantised, rows, columns, row / kTileRows);
  const auto quantise_row = precision == Precision::Fast       ? quantise_as<V, Precision::Fast>
                            : precision == Precision::Balanced ? quantise_as<V, Precision::Balanced>
                                                               : quantise_as<V, Precision::Exact>;
  quantise_row(x, row, first_column, last_column, tile);
}

}  // namespace
}  // namespace legato
