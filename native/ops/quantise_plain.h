// The steps of quantising a block as loops that a compiler turns into vectors.
#pragma once

#include "quantise_tile.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

struct PlainQuantise {
  static Peaks measure(const Blocks& blocks) {
    Peaks peaks{};
    for (int k = 0; k < blocks.count; ++k) measure_block(blocks.x[k], k, peaks);
    return peaks;
  }
  template <bool kSpiked>
  static void write(const Blocks& blocks, const Ints4& group, const Scales& scales) {
    for (int k = 0; k < blocks.count; ++k) {
      ActivationBlock& out = *blocks.out[k];
      int32_t q[kQuantBlock];
      round(blocks.x[k], scales.factor[k], q);
      write_sums(q, scales.scale[k], out);
      write_spike<kSpiked>(q, kSpiked ? group[k] : 0, out);
      for (int i = 0; i < kQuantBlock; ++i) out.q[i] = static_cast<int8_t>(q[i]);
    }
  }
  static void write_high(const float* x, float factor, float scale, ActivationBlock& out,
                         int8_t* high) {
    int32_t q[kQuantBlock];
    round(x, factor, q);
    write_sums(q, scale, out);
    out.group = 0;
    for (int8_t& spike : out.spike) spike = 0;
    for (int k = 0; k < kQuantBlock; ++k) {
      const int32_t digit = upper(q[k], kHighBits);
      high[k] = static_cast<int8_t>(digit);
      out.q[k] = static_cast<int8_t>(q[k] - digit * (1 << kHighBits));
    }
  }

 private:
  static void measure_block(const float* x, int k, Peaks& peaks) {
    int32_t most = -1, rest = -1;
    for (int g = 0; g < kGroups; ++g) {
      int32_t peak = 0;
      for (int j = 0; j < 4; ++j) {
        const int32_t size = __builtin_bit_cast(int32_t, x[4 * g + j]) & 0x7fffffff;
        peak = size > peak ? size : peak;
      }
      if (peak > most) peaks.group[k] = g;
      rest = peak > most ? most : peak > rest ? peak : rest;
      most = peak > most ? peak : most;
    }
    peaks.most[k] = most;
    peaks.rest[k] = rest;
  }
  // The spike of a group leaves the digits.
  template <bool kSpiked>
  static void write_spike(int32_t* q, int32_t group, ActivationBlock& out) {
    out.group = group;
    for (int j = 0; j < 4; ++j) {
      int32_t& at = q[4 * group + j];
      const int32_t spike = kSpiked ? upper(at, kSpikeBits) : 0;
      out.spike[j] = static_cast<int8_t>(spike);
      at -= spike * (1 << kSpikeBits);
    }
  }
  // To the nearest integers, ties to even: adding 1.5 * 2^23 leaves no bits for a fraction.
  static void round(const float* x, float factor, int32_t* q) {
    constexpr float shift = 12582912.0f;
    for (int k = 0; k < kQuantBlock; ++k) {
      const float scaled = factor == 0.0f ? 0.0f : x[k] * factor;  // x may be NaN
      q[k] = static_cast<int32_t>((scaled + shift) - shift);
    }
  }
  // q / 2^bits to the nearest integer, halves upwards.
  static int32_t upper(int32_t q, int bits) { return (q + (1 << (bits - 1))) >> bits; }
  static void write_sums(const int32_t* q, float scale, ActivationBlock& out) {
    int32_t first = 0, second = 0;
    for (int k = 0; k < kQuantBlock / 2; ++k) {
      first -= q[k];
      second -= q[16 + k];
    }
    out.scale = scale;
    out.sum = -scale * static_cast<float>(first + second);
    out.minus = first + second;
    out.minus_half[0] = first;
    out.minus_half[1] = second;
    out.crossed = 0;
  }
};

}  // namespace
}  // namespace legato
