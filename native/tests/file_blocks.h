// Random weights in every file format, and what they dequantise to: written from ggml's definition
// of each block, value by value, with nothing of the packing code.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../formats.h"

namespace legato {

constexpr Format kFormats[] = {Format::F32,  Format::F16,  Format::BF16, Format::Q4_0,
                               Format::Q4_1, Format::Q5_0, Format::Q5_1, Format::Q8_0,
                               Format::Q4_K, Format::Q5_K, Format::Q6_K};

inline std::string name_of(Format format) {
  static const char* names[] = {"F32",  "F16",  "BF16", "Q4_0", "Q4_1", "Q5_0",
                                "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
  return names[int(format)];
}

inline bool is_k_quant(Format format) { return format >= Format::Q4_K; }

struct FileBlock {
  int columns;
  int bytes;
  std::vector<int> halves;  // where fp16 numbers lie
};

inline FileBlock file_block(Format format) {
  switch (format) {
    case Format::F32: return {1, 4, {}};
    case Format::F16: return {1, 2, {0}};
    case Format::BF16: return {1, 2, {}};
    case Format::Q4_0: return {32, 18, {0}};
    case Format::Q4_1: return {32, 20, {0, 2}};
    case Format::Q5_0: return {32, 22, {0}};
    case Format::Q5_1: return {32, 24, {0, 2}};
    case Format::Q8_0: return {32, 34, {0}};
    case Format::Q4_K: return {256, 144, {0, 2}};
    case Format::Q5_K: return {256, 176, {0, 2}};
    default: return {256, 210, {208}};
  }
}

struct File {
  Format format;
  int64_t rows, columns;
  std::vector<uint8_t> bytes;
};

// Blocks of random bits but for the floating-point numbers, which are of a sane size.
inline File random_file(Format format, int64_t rows, int64_t columns) {
  std::mt19937 random(static_cast<uint32_t>(format) + 1);
  const FileBlock block = file_block(format);
  const int64_t bytes = rows * columns / block.columns * block.bytes;
  File file{format, rows, columns, std::vector<uint8_t>(bytes)};
  for (uint8_t& byte : file.bytes) byte = static_cast<uint8_t>(random());
  for (size_t at = 0; at < file.bytes.size(); at += block.bytes) {
    for (int offset : block.halves) {  // 2^-10 .. 2^-6, both signs, and now and then subnormal
      const uint32_t bits = random();
      const uint32_t exponent = bits % 50 == 0 ? 0 : 5 + bits / 50 % 4;
      const uint32_t fraction = bits >> 20 & 1023;
      const auto half = static_cast<uint16_t>((bits & 0x8000) | exponent << 10 | fraction);
      std::memcpy(&file.bytes[at + offset], &half, 2);
    }
    if (format == Format::F32 || format == Format::BF16) {
      const float value = std::ldexp(float(int(random() % 4001) - 2000), -12);
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      if (format == Format::BF16) bits >>= 16;
      std::memcpy(&file.bytes[at], &bits, block.bytes);
    }
  }
  return file;
}

inline float half_value(const uint8_t* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float size = exponent ? std::ldexp(1024.0f + fraction, exponent - 25)
                              : std::ldexp(float(fraction), -24);
  return half & 0x8000 ? -size : size;
}

// Value k of a 32-column block.
inline float simple_value(Format format, const uint8_t* block, int k) {
  const float d = half_value(block);
  const bool has_min = format == Format::Q4_1 || format == Format::Q5_1;
  const uint8_t* after = block + (has_min ? 4 : 2);
  if (format == Format::Q8_0) return d * static_cast<int8_t>(after[k]);
  const bool five = format == Format::Q5_0 || format == Format::Q5_1;
  const uint8_t* nibbles = after + (five ? 4 : 0);
  int q = k < 16 ? nibbles[k] & 15 : nibbles[k - 16] >> 4;
  if (five) q |= (after[k / 8] >> k % 8 & 1) << 4;
  if (!has_min) return d * float(q - (five ? 16 : 8));
  const float product = d * float(q);
  return product + half_value(block + 2);
}

// Value k of a 256-column block of Q4_K or Q5_K.
inline float k_value(Format format, const uint8_t* block, int k) {
  const uint8_t* packed = block + 4;
  const int sub = k / 32;
  const int scale = sub < 4 ? packed[sub] & 63 : (packed[sub + 4] & 15) | packed[sub - 4] >> 6 << 4;
  const int min = sub < 4 ? packed[sub + 4] & 63 : packed[sub + 4] >> 4 | packed[sub] >> 6 << 4;
  const uint8_t* nibbles = block + (format == Format::Q5_K ? 48 : 16) + k / 64 * 32;
  int q = nibbles[k % 32] >> (sub % 2 ? 4 : 0) & 15;
  if (format == Format::Q5_K) q |= (block[16 + k % 32] >> sub & 1) << 4;
  const float step = half_value(block) * float(scale);
  const float product = step * float(q);
  return product - half_value(block + 2) * float(min);
}

// Value k of a 256-column block of Q6_K.
inline float q6_k_value(const uint8_t* block, int k) {
  const int half = k / 128, quarter = k % 128 / 32, l = k % 32;
  const uint8_t low = block[64 * half + 32 * (quarter % 2) + l];
  const uint8_t high = block[128 + 32 * half + l];
  const int q = (quarter < 2 ? low & 15 : low >> 4) | (high >> 2 * quarter & 3) << 4;
  const float step = half_value(block + 208) * static_cast<int8_t>(block[192 + k / 16]);
  return step * float(q - 32);
}

inline float block_value(Format format, const uint8_t* block, int k) {
  if (format == Format::F16) return half_value(block);
  if (format == Format::Q6_K) return q6_k_value(block, k);
  if (is_k_quant(format)) return k_value(format, block, k);
  if (format >= Format::Q4_0) return simple_value(format, block, k);
  uint8_t wide[4] = {};
  const int bytes = format == Format::BF16 ? 2 : 4;
  std::memcpy(wide + 4 - bytes, block, bytes);
  float value;
  std::memcpy(&value, wide, 4);
  return value;
}

// f32, row-major [rows, columns].
inline std::vector<float> dequantise(const File& file) {
  const FileBlock block = file_block(file.format);
  std::vector<float> out(file.rows * file.columns);
  for (size_t i = 0; i < out.size(); ++i) {
    const uint8_t* at = file.bytes.data() + i / block.columns * block.bytes;
    out[i] = block_value(file.format, at, int(i % block.columns));
  }
  return out;
}

}  // namespace legato
