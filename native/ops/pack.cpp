// File blocks into panels and back.
#include <cstring>

#include "activations.h"
#include "linear.h"
#include "panel.h"

namespace legato {
namespace {

constexpr uint32_t kLowBits = 0x01010101;  // one bit of each of four columns

uint32_t load4(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, 4);
  return value;
}

// One row's 32 stored weights of one block, and the bytes of its scales as a panel keeps them.
struct RowBlock {
  uint8_t quants[kQuantBlock];
  uint8_t scales[4];
};

void read_nibbles(const uint8_t* packed, uint8_t* quants) {
  for (int i = 0; i < 16; ++i) {
    quants[i] = packed[i] & 15;
    quants[16 + i] = packed[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t* packed, uint8_t* quants) {
  const uint32_t bits = load4(packed);
  for (int i = 0; i < 32; ++i) quants[i] |= static_cast<uint8_t>((bits >> i & 1) << 4);
}

// The 6-bit scale and min of sub-block `sub` from the 12 bytes that hold eight of each.
void read_k_scales(const uint8_t* packed, int sub, uint8_t* scales) {
  if (sub < 4) {
    scales[0] = packed[sub] & 63;
    scales[1] = packed[sub + 4] & 63;
  } else {
    scales[0] = (packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4;
    scales[1] = packed[sub + 4] >> 4 | (packed[sub] >> 6) << 4;
  }
}

// Two sub-blocks share 32 bytes: the even one has the low nibbles.
void read_k_nibbles(const uint8_t* packed, int sub, uint8_t* quants) {
  const int shift = 4 * (sub & 1);
  for (int i = 0; i < 32; ++i) quants[i] = packed[sub / 2 * 32 + i] >> shift & 15;
}

void read_q6_k(const uint8_t* file, int sub, RowBlock& row) {
  const uint8_t* low = file + sub / 4 * 64 + (sub & 1) * 32;
  const uint8_t* high = file + 128 + sub / 4 * 32;
  const int low_shift = (sub & 2) * 2, high_shift = 2 * (sub & 3);
  for (int i = 0; i < 32; ++i) {
    row.quants[i] = static_cast<uint8_t>((low[i] >> low_shift & 15) |
                                         (high[i] >> high_shift & 3) << 4);
  }
  std::memcpy(row.scales, file + 192 + 2 * sub, 2);
}

// Sub-block `sub` (0 but for K-quants) of the file block at `file`.
template <Format F>
void read_block(const uint8_t* file, int sub, RowBlock& row) {
  if constexpr (F == Format::Q6_K) {
    read_q6_k(file, sub, row);
  } else if constexpr (F == Format::Q4_K || F == Format::Q5_K) {
    read_k_scales(file + 4, sub, row.scales);
    read_k_nibbles(file + (F == Format::Q5_K ? 48 : 16), sub, row.quants);
    if constexpr (F == Format::Q5_K) {
      for (int i = 0; i < 32; ++i) row.quants[i] |= (file[16 + i] >> sub & 1) << 4;
    }
  } else {
    constexpr int scale_bytes = layout_of(F).has_min ? 4 : 2;
    std::memcpy(row.scales, file, scale_bytes);
    const uint8_t* quants = file + scale_bytes;
    if constexpr (F == Format::Q8_0) {
      for (int i = 0; i < 32; ++i) row.quants[i] = quants[i] ^ 0x80;
    } else {
      read_nibbles(quants + (layout_of(F).bits == 5 ? 4 : 0), row.quants);
      if constexpr (layout_of(F).bits == 5) add_fifth_bits(quants, row.quants);
    }
  }
}

// Lines and planes of row r, as panel.h draws them: four columns at a time.
template <Format F>
void write_quants(const uint8_t* row_quants, int r, uint8_t* quants) {
  constexpr int bits = layout_of(F).bits;
  uint32_t plane[2] = {0, 0};
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t four = load4(row_quants + 4 * g);
    if constexpr (bits == 8) std::memcpy(quants + g * kLineBytes + 4 * r, &four, 4);
    if constexpr (bits == 5) plane[0] |= (four >> 4 & kLowBits) << g;
    if constexpr (bits == 6) plane[g / 4] |= (four >> 4 & 3 * kLowBits) << 2 * (g % 4);
    if (bits < 8 && g % 2 == 1) {
      const uint32_t even = load4(row_quants + 4 * (g - 1));
      const uint32_t line = (even & 15 * kLowBits) | (four & 15 * kLowBits) << 4;
      std::memcpy(quants + g / 2 * kLineBytes + 4 * r, &line, 4);
    }
  }
  for (int i = 0; i < (bits == 5 ? 1 : bits == 6 ? 2 : 0); ++i) {
    std::memcpy(quants + (4 + i) * kLineBytes + 4 * r, &plane[i], 4);
  }
}

// The scale bytes of row r: two arrays of 16, of u8 behind a header, else of fp16.
template <Format F>
void write_scales(const uint8_t* row_scales, int r, uint8_t* scales) {
  if constexpr (layout_of(F).blocks == 8) {
    scales[r] = row_scales[0];
    scales[16 + r] = row_scales[1];
  } else {
    std::memcpy(scales + 2 * r, row_scales, 2);
    if constexpr (layout_of(F).has_min) std::memcpy(scales + 32 + 2 * r, row_scales + 2, 2);
  }
}

template <Format F>
void write_header(const uint8_t* file, int r, uint8_t* header) {
  if constexpr (F == Format::Q6_K) {
    std::memcpy(header + 2 * r, file + 208, 2);
  } else {
    std::memcpy(header + 2 * r, file, 2);
    std::memcpy(header + 32 + 2 * r, file + 2, 2);
  }
}

// All blocks of one row, into place r of its panel.
template <Format F>
void pack_row(const uint8_t* file, int64_t columns, int r, uint8_t* panel) {
  constexpr Layout layout = layout_of(F);
  const int64_t groups = columns / (kQuantBlock * layout.blocks);
  for (int64_t group = 0; group < groups; ++group, file += layout.file_bytes) {
    uint8_t* header = panel + group * layout.group_bytes();
    if constexpr (layout.header_bytes > 0) write_header<F>(file, r, header);
    for (int sub = 0; sub < layout.blocks; ++sub) {
      uint8_t* quants = header + layout.header_bytes + sub * layout.block_bytes();
      RowBlock row;
      read_block<F>(file, sub, row);
      write_quants<F>(row.quants, r, quants);
      write_scales<F>(row.scales, r, quants + layout.quant_bytes());
    }
  }
}

template <Format F>
void unpack_row(const uint8_t* panel, int64_t columns, int r, float* out) {
  uint8_t line[kLineBytes];
  for (int64_t block = 0; block < columns / kQuantBlock; ++block) {
    const BlockAddress at = block_at<F>(panel, block);
    for (int column = 0; column < kQuantBlock; ++column) {
      if (column % 4 == 0) decode_group<F>(at.quants, column / 4, line);
      const int q = line[4 * r + column % 4] - layout_of(F).zero;
      const float product = scale_of<F>(at, r, column / 16) * static_cast<float>(q);
      out[block * kQuantBlock + column] =
          layout_of(F).has_min ? product + min_of<F>(at, r) : product;
    }
  }
}

template <int Bytes>
void pack_float_row(const uint8_t* file, int64_t columns, int r, uint8_t* panel) {
  for (int64_t column = 0; column < columns; ++column) {
    std::memcpy(panel + (column * kPanelRows + r) * Bytes, file + column * Bytes, Bytes);
  }
}

using PackRow = void (*)(const uint8_t*, int64_t, int, uint8_t*);
using UnpackRow = void (*)(const uint8_t*, int64_t, int, float*);

PackRow packer(Format format) {
  if (format == Format::F32) return pack_float_row<4>;
  if (!is_block_format(format)) return pack_float_row<2>;
  return with_format(format, []<Format F>() -> PackRow { return pack_row<F>; });
}

int64_t file_row_bytes(Format format, int64_t columns) {
  if (!is_block_format(format)) return columns * float_bytes(format);
  const Layout layout = layout_of(format);
  return columns / (kQuantBlock * layout.blocks) * layout.file_bytes;
}

void unpack_float_row(Format format, const uint8_t* panel, int64_t columns, int r, float* out) {
  for (int64_t column = 0; column < columns; ++column) {
    out[column] = float_at(format, panel, column * kPanelRows + r);
  }
}

}  // namespace

bool is_block_format(Format format) { return float_bytes(format) == 0; }

int64_t packed_bytes(Format format, int64_t rows, int64_t columns) {
  return (rows + kPanelRows - 1) / kPanelRows * panel_bytes(format, columns);
}

int64_t quantised_bytes(int64_t rows, int64_t columns) {
  const int64_t blocks = columns / kQuantBlock;
  const int64_t rest = rows % kTileRows;
  return rows / kTileRows * tile_bytes(kTileRows, blocks) + (rest ? tile_bytes(rest, blocks) : 0);
}

void pack_panels(Format format, const uint8_t* source, int64_t rows, int64_t columns,
                 uint8_t* target, int64_t first_panel, int64_t last_panel) {
  const PackRow pack = packer(format);
  const int64_t row_bytes = file_row_bytes(format, columns);
  const int64_t stride = panel_bytes(format, columns);
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    uint8_t* place = target + panel * stride;
    const int64_t first = panel * kPanelRows;
    if (first + kPanelRows > rows) std::memset(place, 0, stride);
    for (int r = 0; r < kPanelRows && first + r < rows; ++r) {
      pack(source + (first + r) * row_bytes, columns, r, place);
    }
  }
}

void unpack_panels(const PackedWeight& weight, float* out) {
  const Format format = weight.format;
  const int64_t stride = panel_bytes(format, weight.columns);
  for (int64_t row = 0; row < weight.rows; ++row, out += weight.columns) {
    const uint8_t* panel = weight.data + row / kPanelRows * stride;
    const int r = row % kPanelRows;
    if (!is_block_format(format)) {
      unpack_float_row(format, panel, weight.columns, r, out);
    } else {
      const UnpackRow unpack =
          with_format(format, []<Format F>() -> UnpackRow { return unpack_row<F>; });
      unpack(panel, weight.columns, r, out);
    }
  }
}

}  // namespace legato
