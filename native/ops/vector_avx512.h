// Sixteen f32 or i32 lanes over AVX-512F. Included through vector.h alone.
#pragma once

#include <immintrin.h>

namespace legato {
namespace {

struct Floats {
  __m512 v;
};
struct Ints {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

inline Floats load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Floats a) { _mm512_storeu_ps(p, a.v); }
inline Floats splat(float x) { return {_mm512_set1_ps(x)}; }
inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// The second operand where either is NaN.
inline Floats maximum(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats minimum(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats round_even(Floats a) { return {_mm512_roundscale_ps(a.v, 8)}; }

// 1 / a to within 2^-23 or so (one step of Newton's after 14 bits), for normal a with normal 1 / a.
inline Floats reciprocal(Floats a) {
  const __m512 r = _mm512_rcp14_ps(a.v);
  return {_mm512_fmadd_ps(_mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(1.0f)), r, r)};
}

inline Floats load_half(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void store_half(uint16_t* p, Floats a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, 8));
}

inline Ints load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store(int32_t* p, Ints a) { _mm512_storeu_si512(p, a.v); }
inline Ints splat(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Ints operator^(Ints a, Ints b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline Ints operator&(Ints a, Ints b) { return {_mm512_and_si512(a.v, b.v)}; }
inline Ints operator|(Ints a, Ints b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int kBits>
inline Ints shift_left(Ints a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
template <int kBits>  // zeros come in
inline Ints shift_right(Ints a) {
  return {_mm512_srli_epi32(a.v, kBits)};
}
inline Ints bits(Floats a) { return {_mm512_castps_si512(a.v)}; }
inline Floats as_floats(Ints a) { return {_mm512_castsi512_ps(a.v)}; }
inline Ints to_ints(Floats a) { return {_mm512_cvtps_epi32(a.v)}; }
inline Floats to_floats(Ints a) { return {_mm512_cvtepi32_ps(a.v)}; }

// Unsigned 32 x 32 -> 64 bits.
inline void multiply_wide(Ints a, Ints b, Ints& high, Ints& low) {
  const __m512i even = _mm512_mul_epu32(a.v, b.v);
  const __m512i odd =
      _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), _mm512_srli_epi64(b.v, 32));
  high.v = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
  low.v = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

inline Mask operator<(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator<=(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask operator==(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask is_nan(Floats a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline Mask operator<(Ints a, Ints b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
inline Mask operator==(Ints a, Ints b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
inline Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
inline Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
inline bool any(Mask m) { return m.v != 0; }
inline Mask mask_of_bits(uint32_t low_16_bits) { return {static_cast<__mmask16>(low_16_bits)}; }
inline uint32_t bits_of_mask(Mask m) { return m.v; }
inline Floats select(Mask m, Floats yes, Floats no) {
  return {_mm512_mask_blend_ps(m.v, no.v, yes.v)};
}
inline Ints select(Mask m, Ints yes, Ints no) {
  return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)};
}

// Rows of four counters' words become words in counter order: lane 4b + r of out q is word r of
// the counter that lane 4b + q held.
inline void transpose_quads(Ints words[4]) {
  const __m512i a = _mm512_unpacklo_epi32(words[0].v, words[1].v);
  const __m512i b = _mm512_unpackhi_epi32(words[0].v, words[1].v);
  const __m512i c = _mm512_unpacklo_epi32(words[2].v, words[3].v);
  const __m512i d = _mm512_unpackhi_epi32(words[2].v, words[3].v);
  words[0].v = _mm512_unpacklo_epi64(a, c);
  words[1].v = _mm512_unpackhi_epi64(a, c);
  words[2].v = _mm512_unpacklo_epi64(b, d);
  words[3].v = _mm512_unpackhi_epi64(b, d);
}

inline __m128 upper_four(__m256 a) { return _mm256_extractf128_ps(a, 1); }
inline __m256 upper_eight(__m512 a) {  // the masked form: GCC warns about the other
  return _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xf, _mm512_castps_pd(a), 1));
}
inline float sum_lanes(Floats a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_eight(a.v));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), upper_four(eight));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float max_lanes(Floats a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_eight(a.v));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), upper_four(eight));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Write the lanes of the mask side by side and return their number; may write all 16 lanes.
// (The memory form of the instruction is microcoded on Zen 4.)
inline int compress(float* p, Floats a, Mask m) {
  _mm512_storeu_ps(p, _mm512_maskz_compress_ps(m.v, a.v));
  return __builtin_popcount(m.v);
}
inline int compress(int32_t* p, Ints a, Mask m) {
  _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(m.v, a.v));
  return __builtin_popcount(m.v);
}

// Eight u64 lanes, of which the low halves count.
struct Wides {
  __m512i v;
};
constexpr int kWides = 8;
inline Wides wide(uint32_t x) { return {_mm512_set1_epi64(x)}; }
inline Wides wide_numbers(uint32_t first) {
  return {_mm512_add_epi64(_mm512_set1_epi64(first), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7))};
}
inline Wides xor_all(Wides a, Wides b, Wides c) {
  return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0x96)};
}
inline Wides multiply_low(Wides a, Wides b) { return {_mm512_mul_epu32(a.v, b.v)}; }
inline Wides high_half(Wides a) { return {_mm512_srli_epi64(a.v, 32)}; }
inline Wides max_low(Wides a, Wides b) { return {_mm512_max_epu32(a.v, b.v)}; }
inline void store(uint64_t* p, Wides a) { _mm512_storeu_si512(p, a.v); }

// Eight f64 lanes twice: sums that must not round.
struct Doubles {
  __m512d low, high;
};
inline Doubles zero_doubles() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
inline Doubles operator+(Doubles a, Floats b) {
  return {_mm512_add_pd(a.low, _mm512_cvtps_pd(_mm512_castps512_ps256(b.v))),
          _mm512_add_pd(a.high, _mm512_cvtps_pd(upper_eight(b.v)))};
}
inline void store(double* p, Doubles a) {
  _mm512_storeu_pd(p, a.low);
  _mm512_storeu_pd(p + 8, a.high);
}

}  // namespace
}  // namespace legato
