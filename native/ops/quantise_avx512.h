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
    write_bytes(out.q, lower<kSpikeBits>(first, first_spike),
                lower<kSpikeBits>(second, second_spike));
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_or_si512(first_spike, second_spike));
    const __m128 four = _mm_permutevar_ps(_mm_castsi128_ps(bytes), _mm_cvtsi32_si128(group & 3));
    const int32_t spike = _mm_cvtsi128_si32(_mm_castps_si128(four));
    std::memcpy(out.spike, &spike, 4);
    out.group = group & (kGroups - 1);
    write_sums(first, second, how.scale, out);
  }
  static void write_high(const float* x, BlockScale how, ActivationBlock& out, int8_t* high) {
    const I first = round(x, how.factor), second = round(x + 16, how.factor);
    const I first_high = upper<kHighBits>(first, ~0u), second_high = upper<kHighBits>(second, ~0u);
    write_bytes(high, first_high, second_high);
    write_bytes(out.q, lower<kHighBits>(first, first_high), lower<kHighBits>(second, second_high));
    std::memset(out.spike, 0, 4);
    out.group = 0;
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
  static void write_bytes(int8_t* out, I first, I second) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_cvtepi32_epi8(first));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm512_cvtepi32_epi8(second));
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
    out.unused = 0;
  }
};

}  // namespace
}  // namespace legato
