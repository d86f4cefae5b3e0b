// Quantised activations in memory: what quantise_row writes and the block kernels read.
//
// A block is 32 columns of one row: x = scale * (q + 16 spike + 128 high). The spike is an upper
// digit of the four columns with the largest magnitude, so that one outlier does not coarsen the
// other columns. `high` lies apart, because only the precision `exact` has it; its spikes are 0.
//
// Rows lie in tiles of 16 (the last tile is as high as the rows that are left), each tile one
// stretch of memory, so that a kernel walks it with one pointer: all blocks, then all high digits.
// Within a tile (block b, row r) has index b * rows + r.
#pragma once

#include <cstdint>

#include "linear.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

constexpr int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

constexpr int kSpikeBits = 4;  // a spike counts 2^4
constexpr int kHighBits = 7;   // a high digit counts 2^7

// Crossed sums: an inner product with half the multiplications (S. Winograd, "A New Algorithm for
// Inner Product", IEEE Trans. Computers C-17, 1968). With weights w and activations q of the same
// place in an even and an odd group of four columns,
//
//   w q + w' q' = (w + q') (w' + q) - w w' - q q'
//
// where w w' serves all rows and q q' all outputs. An addition more is no loss: it goes to units
// that the multiplications leave idle. For the bytes that vpdpbusd takes, both
// factors are shifted, w + q' + 120 >= 0 and w' + q - 8 <= 127, which holds for 4-bit weights and
// |q| <= 120.
constexpr int kCrossedPairs = 3;  // of groups: 0 with 1, 2 with 3, 4 with 5; the others as usual
constexpr int kCrossedUp = 120;
constexpr int kCrossedDown = 8;
// They are counted in the bits of an f32 that stands where neighbours differ by 1, so that the sum
// is a float already, off by kWholeFloat.
constexpr float kWholeFloat = 12582912.0f;  // 1.5 * 2^23
constexpr int32_t kWholeBits = 0x4B400000;  // its bits
// That holds within 2^22 to both sides: products of 15 with digits and spikes, and w w' shifted.
static_assert(kQuantBlock * 15 * (127 * 16 + 127) + 4 * kCrossedPairs * 135 * 128 < 1 << 22);

struct alignas(64) ActivationBlock {  // one cache line
  int8_t q[kQuantBlock];
  float scale;
  float sum;          // of x: what a weight's min is multiplied by
  int32_t minus;      // minus the sum of x / scale: where a dot product of unsigned weights starts
  int32_t minus_half[2];  // the same of columns 0..15 and 16..31
  int32_t group;      // columns 4 group .. 4 group + 3 have the spike
  int8_t spike[4];
  // What crossed sums start from: kWholeBits minus what they have too much from q alone. AVX-512
  // has them alone.
  int32_t crossed;
};
static_assert(sizeof(ActivationBlock) == 64);

constexpr int64_t tile_bytes(int64_t rows, int64_t blocks) {
  return round_up(rows * blocks * (int64_t{sizeof(ActivationBlock)} + kQuantBlock));
}

struct ActivationTile {
  int64_t rows;
  ActivationBlock* blocks;
  int8_t* high;  // 32 of each block
};

// Tile `tile` of activations [rows, columns] at `base`.
inline ActivationTile activation_tile(uint8_t* base, int64_t rows, int64_t columns, int64_t tile) {
  const int64_t blocks = columns / kQuantBlock;
  const int64_t left = rows - tile * kTileRows;
  const int64_t height = left < kTileRows ? left : kTileRows;
  uint8_t* start = base + tile * tile_bytes(kTileRows, blocks);
  auto* entries = reinterpret_cast<ActivationBlock*>(start);
  return {height, entries, reinterpret_cast<int8_t*>(entries + height * blocks)};
}

}  // namespace
}  // namespace legato
