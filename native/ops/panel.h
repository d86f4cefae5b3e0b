// How weights lie in memory, so that the order of bytes is the order of use.
//
// A panel is 16 output rows. Float formats: [columns][16 rows]. Block formats: for every 32 columns
//
//   quants   64-byte lines; byte 4r + j of a line belongs to row r and column 4g + j of column
//            group g (0..7). 4-, 5- and 6-bit formats: line i carries group 2i in its low and
//            2i + 1 in its high nibbles. 8-bit: line g is group g, as value + 128.
//   plane    5-bit: one line, bit g of a byte is the fifth bit of group g.
//            6-bit: two lines, bits 2(g % 4), 2(g % 4) + 1 of line g / 4 are the two upper bits.
//   scales   16 x fp16 d [, 16 x fp16 m]                          Q4_0 Q5_0 Q8_0 [Q4_1 Q5_1]
//            16 x u8 scale, 16 x u8 min                           Q4_K Q5_K
//            16 x i8 scale of columns 0..15, the same of 16..31   Q6_K
//
// K-quants put 16 x fp16 d [, 16 x fp16 dmin] before every eight blocks.
#pragma once

#include <cstdint>
#include <cstring>

#include "../formats.h"
#include "linear.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

constexpr int kGroups = 8;      // column groups of 4 in a block
constexpr int kLineBytes = 64;  // 16 rows x 4 columns

struct Layout {
  int bits;           // of a stored weight
  int zero;           // stored value that means 0
  bool has_min;       // weight = scale * q + min
  int scale_bytes;    // behind the quants of a block, for 16 rows
  int blocks;         // that share a header: 1, or 8 for K-quants
  int header_bytes;   // before them, for 16 rows
  int file_bytes;     // of one row's `blocks` blocks in a file

  constexpr int quant_bytes() const { return kLineBytes * bits; }
  constexpr int block_bytes() const { return quant_bytes() + scale_bytes; }
  constexpr int group_bytes() const { return header_bytes + blocks * block_bytes(); }
};

constexpr Layout layout_of(Format format) {
  switch (format) {
    case Format::Q4_0: return {4, 8, false, 32, 1, 0, 18};
    case Format::Q4_1: return {4, 0, true, 64, 1, 0, 20};
    case Format::Q5_0: return {5, 16, false, 32, 1, 0, 22};
    case Format::Q5_1: return {5, 0, true, 64, 1, 0, 24};
    case Format::Q8_0: return {8, 128, false, 32, 1, 0, 34};
    case Format::Q4_K: return {4, 0, true, 32, 8, 64, 144};
    case Format::Q5_K: return {5, 0, true, 32, 8, 64, 176};
    case Format::Q6_K: return {6, 32, false, 32, 8, 32, 210};
    default: return {};
  }
}

constexpr int float_bytes(Format format) {
  return format == Format::F32 ? 4 : format == Format::F16 || format == Format::BF16 ? 2 : 0;
}

// Bytes of one panel.
constexpr int64_t panel_bytes(Format format, int64_t columns) {
  if (float_bytes(format)) return columns * kPanelRows * float_bytes(format);
  const Layout layout = layout_of(format);
  return columns / (kQuantBlock * layout.blocks) * layout.group_bytes();
}

// Where one block and the header it shares begin.
struct BlockAddress {
  const uint8_t* header;
  const uint8_t* quants;
  const uint8_t* scales;
};

template <Format F>
inline __attribute__((always_inline)) BlockAddress block_at(const uint8_t* panel, int64_t block) {
  constexpr Layout layout = layout_of(F);
  const uint8_t* header = panel + block / layout.blocks * layout.group_bytes();
  const uint8_t* quants =
      header + layout.header_bytes + block % layout.blocks * layout.block_bytes();
  return {header, quants, quants + layout.quant_bytes()};
}

// fp16 to f32, exact; without branches, so that loops over it become vector instructions.
inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  const uint32_t exponent = magnitude >> 23;
  const uint32_t normal = magnitude + ((exponent == 31 ? 224u : 112u) << 23);
  // Subnormal: the fraction under an exponent of -14, less the leading one that gave it.
  const float subnormal = __builtin_bit_cast(float, magnitude + (113u << 23)) - 0x1p-14f;
  const uint32_t bits = exponent == 0 ? __builtin_bit_cast(uint32_t, subnormal) : normal;
  return __builtin_bit_cast(float, bits | sign);
}

inline float half_at(const uint8_t* bytes, int index) {
  uint16_t half;
  std::memcpy(&half, bytes + 2 * index, 2);
  return half_to_float(half);
}

inline float float_at(Format format, const uint8_t* bytes, int64_t index) {
  if (format == Format::F16) return half_at(bytes + 2 * index, 0);
  uint32_t bits = 0;
  if (format == Format::F32) {
    std::memcpy(&bits, bytes + 4 * index, 4);
  } else {
    uint16_t upper;
    std::memcpy(&upper, bytes + 2 * index, 2);
    bits = static_cast<uint32_t>(upper) << 16;
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// The stored values of column group g: line[4r + j] of row r, column 4g + j.
template <Format F>
inline void decode_group(const uint8_t* quants, int g, uint8_t* line) {
  constexpr int bits = layout_of(F).bits;
  if constexpr (bits == 8) {
    std::memcpy(line, quants + g * kLineBytes, kLineBytes);
    return;
  }
  const uint8_t* nibbles = quants + g / 2 * kLineBytes;
  const uint8_t* plane = quants + 4 * kLineBytes + (bits == 6 ? g / 4 * kLineBytes : 0);
  for (int i = 0; i < kLineBytes; ++i) {
    int value = nibbles[i] >> 4 * (g & 1) & 15;
    if constexpr (bits == 5) value |= (plane[i] >> g & 1) << 4;
    if constexpr (bits == 6) value |= (plane[i] >> 2 * (g & 3) & 3) << 4;
    line[i] = static_cast<uint8_t>(value);
  }
}

// Scale of row r in the 16-column half `half`, and its min, as f32.
template <Format F>
inline float scale_of(const BlockAddress& at, int r, int half) {
  if constexpr (F == Format::Q6_K) {
    return half_at(at.header, r) * static_cast<int8_t>(at.scales[16 * half + r]);
  } else if constexpr (layout_of(F).blocks == 8) {
    return half_at(at.header, r) * at.scales[r];
  } else {
    return half_at(at.scales, r);
  }
}

template <Format F>
inline float min_of(const BlockAddress& at, int r) {
  if constexpr (!layout_of(F).has_min) return 0.0f;
  else if constexpr (layout_of(F).blocks == 8)
    return -(half_at(at.header + 32, r) * at.scales[16 + r]);
  else
    return half_at(at.scales + 32, r);
}

// Calls `use` with the block format as a template argument.
template <class Use>
inline auto with_format(Format format, Use use) {
  switch (format) {
    case Format::Q4_0: return use.template operator()<Format::Q4_0>();
    case Format::Q4_1: return use.template operator()<Format::Q4_1>();
    case Format::Q5_0: return use.template operator()<Format::Q5_0>();
    case Format::Q5_1: return use.template operator()<Format::Q5_1>();
    case Format::Q8_0: return use.template operator()<Format::Q8_0>();
    case Format::Q4_K: return use.template operator()<Format::Q4_K>();
    case Format::Q5_K: return use.template operator()<Format::Q5_K>();
    default: return use.template operator()<Format::Q6_K>();
  }
}

}  // namespace
}  // namespace legato
