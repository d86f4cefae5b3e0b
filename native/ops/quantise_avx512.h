// The steps of quantising a block with AVX-512: four blocks at a time, so that what is summed up or
// compared within a block takes four blocks' lanes through the same instructions.
#pragma once

#include <immintrin.h>

#include "quantise_tile.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

struct Avx512Quantise {
  static inline __attribute__((always_inline)) Peaks measure(const Blocks& blocks) {
    const I a = group_peaks(blocks.x[0], blocks.x[1]), b = group_peaks(blocks.x[2], blocks.x[3]);
    // The largest and the second largest, folded in halves.
    const I low = lower_halves(a, b), high = upper_halves(a, b);
    const I most4 = _mm512_max_epi32(low, high), rest4 = _mm512_min_epi32(low, high);
    const I other = swap_lanes(most4);
    const I most2 = _mm512_max_epi32(most4, other);
    const I rest2 = _mm512_max_epi32(_mm512_min_epi32(most4, other),
                                     _mm512_max_epi32(rest4, swap_lanes(rest4)));
    const auto [even, odd] = four_of(most2);
    const auto [even_rest, odd_rest] = four_of(rest2);
    const __m128i rest = _mm_max_epi32(even_rest, odd_rest), most = _mm_max_epi32(even, odd);
    return {ints(most), ints(_mm_max_epi32(_mm_min_epi32(even, odd), rest)),
            ints(_mm_and_si128(most, _mm_set1_epi32(kGroups - 1)))};
  }

  template <Precision kPrecision>
  static inline __attribute__((always_inline)) void write(const Blocks& blocks, Ints4 group,
                                                          const Scales& scales) {
    constexpr bool has_upper = kPrecision != Precision::Fast;
    constexpr int bits = kPrecision == Precision::Exact ? kHighBits : kSpikeBits;
    if (kPrecision != Precision::Balanced) group = Ints4{};
    I q[kTogether], sums[kTogether], uppers[kTogether];
    int32_t mask[kTogether];
    store(mask, kPrecision == Precision::Exact ? _mm_set1_epi32(-1) : group_words(group));
    for (int k = 0; k < kTogether; ++k) {
      q[k] = words(blocks.x[k], scales.factor[k]);
      sums[k] = _mm512_madd_epi16(q[k], _mm512_set1_epi16(-1));
      if constexpr (has_upper) {
        uppers[k] = upper<bits>(q[k], _cvtu32_mask32(static_cast<uint32_t>(mask[k])));
        q[k] = _mm512_sub_epi16(q[k], _mm512_slli_epi16(uppers[k], bits));
      }
    }
    const I first = digits(q[0], q[1]), second = digits(q[2], q[3]);
    store(blocks.out[0]->q, blocks.out[1]->q, first);
    store(blocks.out[2]->q, blocks.out[3]->q, second);
    write_numbers(sums, group, scales, crossed(first, second), blocks);
    if constexpr (kPrecision == Precision::Balanced) write_spikes(uppers, group, blocks);
    if constexpr (kPrecision == Precision::Exact) {
      store(blocks.high[0], blocks.high[1], digits(uppers[0], uppers[1]));
      store(blocks.high[2], blocks.high[3], digits(uppers[2], uppers[3]));
    }
  }

 private:
  using I = __m512i;

  // 32-bit elements of two vectors, within each 128-bit lane: 0 and 2 (1 and 3) of both.
  static I even_of(I a, I b) {
    return _mm512_castps_si512(
        _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0x88));
  }
  static I odd_of(I a, I b) {
    return _mm512_castps_si512(
        _mm512_shuffle_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), 0xDD));
  }
  static __m128i even_of(__m128i a, __m128i b) {
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0x88));
  }
  static __m128i odd_of(__m128i a, __m128i b) {
    return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(a), _mm_castsi128_ps(b), 0xDD));
  }
  // The lower (upper) halves of two vectors.
  static I lower_halves(I a, I b) { return _mm512_shuffle_i64x2(a, b, 0x44); }
  static I upper_halves(I a, I b) { return _mm512_shuffle_i64x2(a, b, 0xEE); }
  // Lanes 0 and 1 change places, and 2 and 3.
  static I swap_lanes(I a) { return _mm512_shuffle_i64x2(a, a, 0xB1); }
  // What was folded until lane 0 has elements of blocks 0 and 1, lane 2 of blocks 2 and 3: the even
  // and the odd ones, in the order of blocks.
  struct EvenOdd {
    __m128i even, odd;
  };
  static EvenOdd four_of(I folded) {
    const __m128i a = _mm512_castsi512_si128(folded), b = _mm512_extracti32x4_epi32(folded, 2);
    return {even_of(a, b), odd_of(a, b)};
  }
  static Ints4 ints(__m128i four) { return __builtin_bit_cast(Ints4, four); }
  static void store(int32_t* to, __m128i four) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), four);
  }

  // Groups of 4 columns of a block: lane i has group i in its first and 4 + i in its second half,
  // each as two peaks of two columns.
  static I pair_peaks(const float* x) {
    const I mask = _mm512_set1_epi32(0x7fffffff);
    const I a = _mm512_and_si512(_mm512_loadu_si512(x), mask);
    const I b = _mm512_and_si512(_mm512_loadu_si512(x + 16), mask);
    return _mm512_max_epi32(even_of(a, b), odd_of(a, b));
  }
  // Lane i: groups i and 4 + i of one block, then of the other. A group's number takes the place
  // of the lowest bits.
  static I group_peaks(const float* first, const float* second) {
    const I a = pair_peaks(first), b = pair_peaks(second);
    const I peaks = _mm512_max_epi32(even_of(a, b), odd_of(a, b));
    const I numbers = _mm512_setr_epi32(0, 4, 0, 4, 1, 5, 1, 5, 2, 6, 2, 6, 3, 7, 3, 7);
    return _mm512_or_si512(_mm512_and_si512(peaks, _mm512_set1_epi32(~(kGroups - 1))), numbers);
  }
  // 16 columns to the nearest integers, ties to even. What is not finite gives some digits, and the
  // scale of its block is NaN.
  static I round(const float* x, float factor) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(factor)));
  }
  // A block as words: lane i has columns 4 i .. of its first half, then of its second.
  static I words(const float* x, float factor) {
    return _mm512_packs_epi32(round(x, factor), round(x + 16, factor));
  }
  // Masks of groups of such words.
  static __m128i group_words(const Ints4& group) {
    const Ints4 first = 8 * (group & 3) + (group & 4);
    return _mm_sllv_epi32(_mm_set1_epi32(15), __builtin_bit_cast(__m128i, first));
  }
  // q / 2^kBits to the nearest integer, halves upwards, in the words of `mask`; 0 elsewhere.
  template <int kBits>
  static I upper(I q, __mmask32 mask) {
    const I half = _mm512_set1_epi16(1 << (kBits - 1));
    return _mm512_maskz_srai_epi16(mask, _mm512_add_epi16(q, half), kBits);
  }
  // Words of two blocks as bytes in the order of columns, one block after the other.
  static I digits(I first, I second) {
    const I order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(first, second));
  }
  static void store(int8_t* first, int8_t* second, I digits) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(first), _mm512_castsi512_si256(digits));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(second), _mm512_extracti64x4_epi64(digits, 1));
  }
  static inline __attribute__((always_inline)) void write_spikes(const I* spikes,
                                                                 const Ints4& group,
                                                                 const Blocks& blocks) {
    // As bytes, lane i: groups i and 4 + i of one block, then of the other.
    alignas(64) int32_t bytes[8 * kTogether];
    _mm512_store_si512(bytes, _mm512_packs_epi16(spikes[0], spikes[1]));
    _mm512_store_si512(bytes + 16, _mm512_packs_epi16(spikes[2], spikes[3]));
    int32_t at[kTogether];
    const Ints4 start{0, 2, 16, 18};
    store(at, __builtin_bit_cast(__m128i, start + 4 * (group & 3) + (group >> 2)));
    for (int k = 0; k < kTogether; ++k) std::memcpy(blocks.out[k]->spike, bytes + at[k], 4);
  }

  // Products of an odd group of 4 digits with the even one before it, in elements 1, 3, ..
  static I cross(I q) {
    const I up = _mm512_add_epi8(q, _mm512_set1_epi8(kCrossedUp));
    const I down = _mm512_sub_epi8(q, _mm512_set1_epi8(kCrossedDown));
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), up, _mm512_slli_epi64(down, 32));
  }
  // What crossed sums of the digits of four blocks start from.
  static __m128i crossed(I first, I second) {
    constexpr int of_half = (1 << kCrossedPairs) - 1;  // bits of a block: two in a lane
    constexpr int pairs = (of_half & 3) * 5 | (of_half >> 2) * 5 << 4;
    const I odd = _mm512_maskz_mov_epi32(pairs | pairs << 8, odd_of(cross(first), cross(second)));
    const I two = _mm512_add_epi32(odd, _mm512_shuffle_epi32(odd, _MM_PERM_CDAB));
    const I one = _mm512_add_epi32(two, swap_lanes(two));
    // Blocks 0 and 2 in lane 0, blocks 1 and 3 in lane 2.
    const __m128i products = _mm_shuffle_epi32(four_of(one).even, _MM_SHUFFLE(3, 1, 2, 0));
    constexpr int32_t start = kWholeBits - 4 * kCrossedPairs * kCrossedUp * kCrossedDown;
    return _mm_sub_epi32(_mm_set1_epi32(start), products);
  }
  // `sums`, lane i: two partial sums of the first half, two of the second.
  static inline __attribute__((always_inline)) void write_numbers(const I* sums,
                                                                  const Ints4& group,
                                                                  const Scales& scales,
                                                                  __m128i crossed,
                                                                  const Blocks& blocks) {
    const I a = _mm512_add_epi32(even_of(sums[0], sums[1]), odd_of(sums[0], sums[1]));
    const I b = _mm512_add_epi32(even_of(sums[2], sums[3]), odd_of(sums[2], sums[3]));
    const I two = _mm512_add_epi32(lower_halves(a, b), upper_halves(a, b));
    const auto [first, second] = four_of(_mm512_add_epi32(two, swap_lanes(two)));
    const __m128i minus = _mm_add_epi32(first, second);
    const Floats4 sum = -scales.scale * __builtin_bit_cast(Floats4, _mm_cvtepi32_ps(minus));
    __m128 row[8] = {__builtin_bit_cast(__m128, scales.scale), __builtin_bit_cast(__m128, sum),
                     _mm_castsi128_ps(minus),                  _mm_castsi128_ps(first),
                     _mm_castsi128_ps(second),                 __builtin_bit_cast(__m128, group),
                     _mm_setzero_ps(),                         _mm_castsi128_ps(crossed)};
    _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
    _MM_TRANSPOSE4_PS(row[4], row[5], row[6], row[7]);
    for (int k = 0; k < kTogether; ++k) {
      float* numbers = &blocks.out[k]->scale;
      _mm_storeu_ps(numbers, row[k]);
      _mm_storeu_ps(numbers + 4, row[4 + k]);
    }
  }
};

}  // namespace
}  // namespace legato
