// The steps of quantising a block with AVX-512.
#pragma once

#include <immintrin.h>

#include "quantise_tile.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

struct Avx512Quantise {
  static BlockPeaks measure(const float* x) {
    const I numbers = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const I a = group_peaks(x, numbers);
    const I b = group_peaks(x + 16, _mm512_add_epi32(numbers, _mm512_set1_epi32(4)));
    // The largest and the second largest of the lanes, folded in halves.
    const I most16 = _mm512_max_epi32(a, b), rest16 = _mm512_min_epi32(a, b);
    const __m256i most_a = _mm512_castsi512_si256(most16);
    const __m256i most_b = _mm512_extracti64x4_epi64(most16, 1);
    const __m256i most8 = _mm256_max_epi32(most_a, most_b);
    const __m256i rest8 = _mm256_max_epi32(
        _mm256_min_epi32(most_a, most_b),
        _mm256_max_epi32(_mm512_castsi512_si256(rest16), _mm512_extracti64x4_epi64(rest16, 1)));
    const __m128i last_a = _mm256_castsi256_si128(most8);
    const __m128i last_b = _mm256_extracti128_si256(most8, 1);
    const __m128i rest4 =
        _mm_max_epi32(_mm256_castsi256_si128(rest8), _mm256_extracti128_si256(rest8, 1));
    const int32_t most = _mm_cvtsi128_si32(_mm_max_epi32(last_a, last_b));
    const int32_t rest = _mm_cvtsi128_si32(_mm_max_epi32(_mm_min_epi32(last_a, last_b), rest4));
    return {most, rest, most & (kGroups - 1)};
  }

  static void write_spike(const float* x, BlockScale how, int32_t group, ActivationBlock& out) {
    const I first = round(x, how.factor), second = round(x + 16, how.factor);
    const auto columns = static_cast<uint32_t>(uint64_t{15} << 4 * group);
    const I first_spike = upper<kSpikeBits>(first, columns);
    const I second_spike = upper<kSpikeBits>(second, columns >> 16);
    const __m256i digits = bytes_of(lower<kSpikeBits>(first, first_spike),
                                    lower<kSpikeBits>(second, second_spike));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q), digits);
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_or_si512(first_spike, second_spike));
    const __m128 four = _mm_permutevar_ps(_mm_castsi128_ps(bytes), _mm_cvtsi32_si128(group & 3));
    const int32_t spike = _mm_cvtsi128_si32(_mm_castps_si128(four));
    std::memcpy(out.spike, &spike, 4);
    out.group = group & (kGroups - 1);
    out.crossed = crossed(digits);
    write_sums(first, second, how.scale, out);
  }
  static void write_high(const float* x, BlockScale how, ActivationBlock& out, int8_t* high) {
    const I first = round(x, how.factor), second = round(x + 16, how.factor);
    const I first_high = upper<kHighBits>(first, ~0u), second_high = upper<kHighBits>(second, ~0u);
    const __m256i digits =
        bytes_of(lower<kHighBits>(first, first_high), lower<kHighBits>(second, second_high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), bytes_of(first_high, second_high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q), digits);
    std::memset(out.spike, 0, 4);
    out.group = 0;
    out.crossed = 0;
    write_sums(first, second, how.scale, out);
  }

 private:
  using I = __m512i;

  // A group of 4 columns is a 128-bit lane. Its number takes the place of a magnitude's lowest bits.
  static I group_peaks(const float* x, I numbers) {
    const I bits = _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7fffffff));
    const I pairs = _mm512_max_epi32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_CDAB));
    const I fours = _mm512_max_epi32(pairs, _mm512_shuffle_epi32(pairs, _MM_PERM_BADC));
    return _mm512_or_si512(_mm512_and_si512(fours, _mm512_set1_epi32(~(kGroups - 1))), numbers);
  }
  // 16 columns to the nearest integers, ties to even.
  static I round(const float* x, float factor) {
    const __mmask16 usable = factor != 0.0f ? 0xffff : 0;  // x may be NaN
    return _mm512_cvtps_epi32(_mm512_maskz_mul_ps(usable, _mm512_loadu_ps(x), _mm512_set1_ps(factor)));
  }
  // q / 2^bits to the nearest integer, halves upwards, in the columns of `mask`; 0 elsewhere.
  template <int Bits>
  static I upper(I q, uint32_t mask) {
    const I half = _mm512_set1_epi32(1 << (Bits - 1));
    return _mm512_maskz_srai_epi32(static_cast<__mmask16>(mask), _mm512_add_epi32(q, half), Bits);
  }
  template <int Bits>
  static I lower(I q, I upper) {
    return _mm512_sub_epi32(q, _mm512_slli_epi32(upper, Bits));
  }
  static __m256i bytes_of(I first, I second) {
    return _mm256_set_m128i(_mm512_cvtepi32_epi8(second), _mm512_cvtepi32_epi8(first));
  }
  // What crossed sums of 32 digits start from.
  static int32_t crossed(__m256i q) {
    const __m256i up = _mm256_add_epi8(q, _mm256_set1_epi8(kCrossedUp));
    const __m256i down = _mm256_sub_epi8(q, _mm256_set1_epi8(kCrossedDown));
    // Words 1, 3, .. are the products of an odd group with the even one before it.
    const __m256i products =
        _mm256_dpbusd_epi32(_mm256_setzero_si256(), up, _mm256_slli_epi64(down, 32));
    constexpr int pairs = (1 << 2 * kCrossedPairs) - 1;
    const __m256i chosen = _mm256_maskz_mov_epi32(pairs, products);
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(chosen), _mm256_extracti128_si256(chosen, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_PERM_BADC));
    return kWholeBits - _mm_extract_epi32(two, 1) - 4 * kCrossedPairs * kCrossedUp * kCrossedDown;
  }
  static void write_sums(I first, I second, float scale, ActivationBlock& out) {
    // Every 128-bit lane holds two partial sums of the first half, then two of the second.
    const I pairs = _mm512_madd_epi16(_mm512_packs_epi32(first, second), _mm512_set1_epi16(-1));
    const __m256i eight = _mm256_add_epi32(_mm512_castsi512_si256(pairs),
                                           _mm512_extracti64x4_epi64(pairs, 1));
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i halves = _mm_hadd_epi32(four, four);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out.minus_half), halves);
    out.minus = _mm_cvtsi128_si32(_mm_add_epi32(halves, _mm_shuffle_epi32(halves, 0xB1)));
    out.scale = scale;
    out.sum = -scale * static_cast<float>(out.minus);
  }
};

}  // namespace
}  // namespace legato
