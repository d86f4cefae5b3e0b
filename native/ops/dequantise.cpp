#include "dequantise.h"

#include <bit>
#include <cstring>

namespace legato {
namespace {

struct BlockShape {
  int64_t elements;
  int64_t bytes;
};

BlockShape block_shape(Format format) {
  switch (format) {
    case Format::F32: return {1, 4};
    case Format::F16: return {1, 2};
    case Format::BF16: return {1, 2};
    case Format::Q4_0: return {32, 18};
    case Format::Q4_1: return {32, 20};
    case Format::Q5_0: return {32, 22};
    case Format::Q5_1: return {32, 24};
    case Format::Q8_0: return {32, 34};
    case Format::Q4_K: return {256, 144};
    case Format::Q5_K: return {256, 176};
    case Format::Q6_K: return {256, 210};
  }
  __builtin_unreachable();
}

template <class T>
T load(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1f, mantissa = half & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

float half(const uint8_t* p) { return half_to_float(load<uint16_t>(p)); }

// 32 values of 4 bits: the low nibbles are the first half.
int nibble(const uint8_t* packed, int i) {
  return i < 16 ? packed[i] & 0xf : packed[i - 16] >> 4;
}

int fifth_bit(uint32_t bits, int i) { return static_cast<int>((bits >> i) & 1) << 4; }

void block_f32(const uint8_t* b, float* out) { *out = load<float>(b); }
void block_f16(const uint8_t* b, float* out) { *out = half(b); }
void block_bf16(const uint8_t* b, float* out) {
  *out = std::bit_cast<float>(uint32_t{load<uint16_t>(b)} << 16);
}

void block_q4_0(const uint8_t* b, float* out) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(nibble(b + 2, i) - 8) * d;
}

void block_q4_1(const uint8_t* b, float* out) {
  const float d = half(b), m = half(b + 2);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(nibble(b + 4, i)) * d + m;
}

void block_q5_0(const uint8_t* b, float* out) {
  const float d = half(b);
  const auto high = load<uint32_t>(b + 2);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>((nibble(b + 6, i) | fifth_bit(high, i)) - 16) * d;
  }
}

void block_q5_1(const uint8_t* b, float* out) {
  const float d = half(b), m = half(b + 2);
  const auto high = load<uint32_t>(b + 4);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(nibble(b + 8, i) | fifth_bit(high, i)) * d + m;
  }
}

void block_q8_0(const uint8_t* b, float* out) {
  const float d = half(b);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * d;
}

// The eight 6-bit scales and minima of a K block, in 12 bytes.
struct ScaleAndMin {
  int scale;
  int min;
};

ScaleAndMin k_scale(const uint8_t* packed, int j) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 0xf) | (packed[j - 4] >> 6) << 4,
          (packed[j + 4] >> 4) | (packed[j] >> 6) << 4};
}

// Q4_K and Q5_K; `high` [32] holds bit j of sub-block j's elements, or is null.
void block_k(const uint8_t* b, const uint8_t* high, const uint8_t* low, float* out) {
  const float d = half(b), dmin = half(b + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleAndMin s = k_scale(b + 4, j);
    const float scale = d * static_cast<float>(s.scale), min = dmin * static_cast<float>(s.min);
    for (int i = 0; i < 32; ++i) {
      const int packed = low[j / 2 * 32 + i];
      int value = j % 2 == 0 ? packed & 0xf : packed >> 4;
      if (high != nullptr) value += ((high[i] >> j) & 1) << 4;
      out[32 * j + i] = scale * static_cast<float>(value) - min;
    }
  }
}

void block_q4_k(const uint8_t* b, float* out) { block_k(b, nullptr, b + 16, out); }
void block_q5_k(const uint8_t* b, float* out) { block_k(b, b + 16, b + 48, out); }

void block_q6_k(const uint8_t* b, float* out) {
  const uint8_t *low = b, *high = b + 128, *scales = b + 192;
  const float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int part = i / 128, quarter = i / 32 % 4, k = i % 32;
    const int packed = low[64 * part + 32 * (quarter % 2) + k];
    const int nibbles = quarter < 2 ? packed & 0xf : packed >> 4;
    const int top = (high[32 * part + k] >> (2 * quarter)) & 3;
    const float scale = d * static_cast<float>(static_cast<int8_t>(scales[i / 16]));
    out[i] = scale * static_cast<float>((nibbles | top << 4) - 32);
  }
}

template <void (*Block)(const uint8_t*, float*)>
void each_block(BlockShape shape, const uint8_t* source, int64_t columns, float* out) {
  for (int64_t i = 0; i < columns; i += shape.elements) {
    Block(source, out + i);
    source += shape.bytes;
  }
}

}  // namespace

int64_t row_bytes(Format format, int64_t columns) {
  const BlockShape shape = block_shape(format);
  return columns / shape.elements * shape.bytes;
}

void dequantise_row(Format format, const uint8_t* source, int64_t columns, float* out) {
  const BlockShape shape = block_shape(format);
  switch (format) {
    case Format::F32: return each_block<block_f32>(shape, source, columns, out);
    case Format::F16: return each_block<block_f16>(shape, source, columns, out);
    case Format::BF16: return each_block<block_bf16>(shape, source, columns, out);
    case Format::Q4_0: return each_block<block_q4_0>(shape, source, columns, out);
    case Format::Q4_1: return each_block<block_q4_1>(shape, source, columns, out);
    case Format::Q5_0: return each_block<block_q5_0>(shape, source, columns, out);
    case Format::Q5_1: return each_block<block_q5_1>(shape, source, columns, out);
    case Format::Q8_0: return each_block<block_q8_0>(shape, source, columns, out);
    case Format::Q4_K: return each_block<block_q4_k>(shape, source, columns, out);
    case Format::Q5_K: return each_block<block_q5_k>(shape, source, columns, out);
    case Format::Q6_K: return each_block<block_q6_k>(shape, source, columns, out);
  }
}

}  // namespace legato
