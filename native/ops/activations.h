// Quantised activations in memory: what quantise_row writes and the block kernels read.
//
// Rows lie in tiles of 16 (the last tile is as high as the rows that are left), each tile one
// stretch of memory, so that a kernel walks it with one pointer. Within a tile the entry of
// (block b, row r) has index b * rows + r in each of these arrays:
//
//   high, low  32 x int8. x = scale * (high + low / 128); low is 0 unless the block is wide
//   scale      f32
//   sum        f32, scale * sum of (high + low / 128): what a weight's min is multiplied by
//   minus      4 x int32, minus the sums of high over columns 0..15 and 16..31, and of low:
//              where a dot product with unsigned weights starts
//   wide       u8, 255 for a wide block, else 0; 16 spare bytes follow the last
#pragma once

#include <cstdint>

#include "linear.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

constexpr int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

constexpr int64_t tile_bytes(int64_t rows, int64_t blocks) {
  const int64_t entries = rows * blocks;
  return 2 * round_up(entries * kQuantBlock) + 2 * round_up(entries * 4) +
         round_up(entries * 16) + round_up(entries + 16);
}

struct ActivationTile {
  int64_t rows;
  int8_t* high;
  int8_t* low;
  float* scale;
  float* sum;
  int32_t* minus;
  uint8_t* wide;
};

// Tile `tile` of activations [rows, columns] at `base`.
inline ActivationTile activation_tile(uint8_t* base, int64_t rows, int64_t columns, int64_t tile) {
  const int64_t blocks = columns / kQuantBlock;
  const int64_t left = rows - tile * kTileRows;
  const int64_t height = left < kTileRows ? left : kTileRows;
  const int64_t entries = height * blocks;
  uint8_t* high = base + tile * tile_bytes(kTileRows, blocks);
  uint8_t* low = high + round_up(entries * kQuantBlock);
  uint8_t* scale = low + round_up(entries * kQuantBlock);
  uint8_t* sum = scale + round_up(entries * 4);
  uint8_t* minus = sum + round_up(entries * 4);
  return {height,
          reinterpret_cast<int8_t*>(high),
          reinterpret_cast<int8_t*>(low),
          reinterpret_cast<float*>(scale),
          reinterpret_cast<float*>(sum),
          reinterpret_cast<int32_t*>(minus),
          minus + round_up(entries * 16)};
}

}  // namespace
}  // namespace legato
