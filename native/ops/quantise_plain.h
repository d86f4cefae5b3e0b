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
  template <Precision kPrecision>
  static void write(const Blocks& blocks, const Ints4& group, const Scales& scales) {
    for (int k = 0; k < blocks.count; ++k) {
      ActivationBlock& out = *blocks.out[k];
      int32_t q[kQuantBlock];
      round(blocks.x[k], scales.factor[k], q);
      write_sums(q, scales.scale[k], out);
      out.group = 0;
      for (int8_t& spike : out.spike) spike = 0;
      if constexpr (kPrecision == Precision::Balanced) take_spike(q, group[k], out);
      if constexpr (kPrecision == Precision::Exact) take_high(q, blocks.high[k]);
      for (int i = 0; i < kQuantBlock; ++i) out.q[i] = static_cast<int8_t>(q[i]);
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
  // Upper digits leave q: those of a group as its spike, or all as high digits.
  static void take_spike(int32_t* q, int32_t group, ActivationBlock& out) {
    out.group = group;
    for (int j = 0; j < 4; ++j) out.spike[j] = take<kSpikeBits>(q[4 * group + j]);
  }
  static void take_high(int32_t* q, int8_t* high) {
    for (int i = 0; i < kQuantBlock; ++i) high[i] = take<kHighBits>(q[i]);
  }
  // q / 2^kBits to the nearest integer, halves upwards.
  template <int kBits>
  static int8_t take(int32_t& q) {
    const int32_t upper = (q + (1 << (kBits - 1))) >> kBits;
    q -= upper * (1 << kBits);
    return static_cast<int8_t>(upper);
  }
  // To the nearest integers, ties to even: adding 1.5 * 2^23 leaves no bits for a fraction.
  static void round(const float* x, float factor, int32_t* q) {
    constexpr float shift = 12582912.0f;
    for (int k = 0; k < kQuantBlock; ++k) {
      const float scaled = factor == 0.0f ? 0.0f : x[k] * factor;  // x may be NaN
      q[k] = static_cast<int32_t>((scaled + shift) - shift);
    }
  }
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
