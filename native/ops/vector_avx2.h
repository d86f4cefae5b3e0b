// Sixteen f32 or i32 lanes as two AVX2 registers (with FMA and F16C). Included through vector.h.
#pragma once

#include <immintrin.h>

namespace legato {
namespace {

struct Floats {
  __m256 a, b;
};
struct Ints {
  __m256i a, b;
};
struct Mask {
  __m256i a, b;  // all ones or all zeros in a lane
};

inline Floats load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, Floats x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline Floats splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Floats operator+(Floats x, Floats y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
inline Floats operator-(Floats x, Floats y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
inline Floats operator*(Floats x, Floats y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
inline Floats operator/(Floats x, Floats y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
inline Floats fma(Floats x, Floats y, Floats z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
// The second operand where either is NaN.
inline Floats maximum(Floats x, Floats y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
inline Floats minimum(Floats x, Floats y) {
  return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
inline Floats round_even(Floats x) {
  return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)};
}

inline Floats reciprocal(Floats a) { return splat(1.0f) / a; }

inline Floats load_half(const uint16_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
inline void store_half(uint16_t* p, Floats x) {
  auto* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, 0));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, 0));
}

inline Ints load(const int32_t* p) {
  const auto* q = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
inline void store(int32_t* p, Ints x) {
  auto* q = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(q, x.a);
  _mm256_storeu_si256(q + 1, x.b);
}
inline Ints splat(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Ints operator+(Ints x, Ints y) {
  return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
inline Ints operator-(Ints x, Ints y) {
  return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}
inline Ints operator^(Ints x, Ints y) {
  return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)};
}
inline Ints operator&(Ints x, Ints y) {
  return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
inline Ints operator|(Ints x, Ints y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
template <int kBits>
inline Ints shift_left(Ints x) {
  return {_mm256_slli_epi32(x.a, kBits), _mm256_slli_epi32(x.b, kBits)};
}
template <int kBits>  // zeros come in
inline Ints shift_right(Ints x) {
  return {_mm256_srli_epi32(x.a, kBits), _mm256_srli_epi32(x.b, kBits)};
}
inline Ints bits(Floats x) { return {_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
inline Floats as_floats(Ints x) { return {_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
inline Ints to_ints(Floats x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

inline void multiply_wide_half(__m256i x, __m256i y, __m256i& high, __m256i& low) {
  const __m256i even = _mm256_mul_epu32(x, y);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(y, 32));
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}
// Unsigned 32 x 32 -> 64 bits.
inline void multiply_wide(Ints x, Ints y, Ints& high, Ints& low) {
  multiply_wide_half(x.a, y.a, high.a, low.a);
  multiply_wide_half(x.b, y.b, high.b, low.b);
}

template <int kCompare>
inline Mask compare(Floats x, Floats y) {
  return {_mm256_castps_si256(_mm256_cmp_ps(x.a, y.a, kCompare)),
          _mm256_castps_si256(_mm256_cmp_ps(x.b, y.b, kCompare))};
}
inline Mask operator<(Floats x, Floats y) { return compare<_CMP_LT_OQ>(x, y); }
inline Mask operator<=(Floats x, Floats y) { return compare<_CMP_LE_OQ>(x, y); }
inline Mask operator==(Floats x, Floats y) { return compare<_CMP_EQ_OQ>(x, y); }
inline Mask is_nan(Floats x) { return compare<_CMP_UNORD_Q>(x, x); }
inline Mask operator<(Ints x, Ints y) {
  return {_mm256_cmpgt_epi32(y.a, x.a), _mm256_cmpgt_epi32(y.b, x.b)};
}
inline Mask operator==(Ints x, Ints y) {
  return {_mm256_cmpeq_epi32(x.a, y.a), _mm256_cmpeq_epi32(x.b, y.b)};
}
inline Mask operator&(Mask x, Mask y) {
  return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
inline Mask operator|(Mask x, Mask y) {
  return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
inline uint32_t bits_of_mask(Mask m) {
  const int low = _mm256_movemask_ps(_mm256_castsi256_ps(m.a));
  const int high = _mm256_movemask_ps(_mm256_castsi256_ps(m.b));
  return static_cast<uint32_t>(low | high << 8);
}
inline bool any(Mask m) { return bits_of_mask(m) != 0; }
inline Mask mask_of_bits(uint32_t low_16_bits) {
  const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i low = _mm256_set1_epi32(static_cast<int32_t>(low_16_bits));
  const __m256i high = _mm256_set1_epi32(static_cast<int32_t>(low_16_bits >> 8));
  return {_mm256_cmpeq_epi32(_mm256_and_si256(low, lanes), lanes),
          _mm256_cmpeq_epi32(_mm256_and_si256(high, lanes), lanes)};
}
inline Floats select(Mask m, Floats yes, Floats no) {
  return {_mm256_blendv_ps(no.a, yes.a, _mm256_castsi256_ps(m.a)),
          _mm256_blendv_ps(no.b, yes.b, _mm256_castsi256_ps(m.b))};
}
inline Ints select(Mask m, Ints yes, Ints no) {
  return {_mm256_blendv_epi8(no.a, yes.a, m.a), _mm256_blendv_epi8(no.b, yes.b, m.b)};
}

inline void transpose_quads_half(__m256i& p, __m256i& q, __m256i& r, __m256i& s) {
  const __m256i a = _mm256_unpacklo_epi32(p, q);
  const __m256i b = _mm256_unpackhi_epi32(p, q);
  const __m256i c = _mm256_unpacklo_epi32(r, s);
  const __m256i d = _mm256_unpackhi_epi32(r, s);
  p = _mm256_unpacklo_epi64(a, c);
  q = _mm256_unpackhi_epi64(a, c);
  r = _mm256_unpacklo_epi64(b, d);
  s = _mm256_unpackhi_epi64(b, d);
}
// Lane 4b + r of out q is word r of the counter that lane 4b + q held.
inline void transpose_quads(Ints words[4]) {
  transpose_quads_half(words[0].a, words[1].a, words[2].a, words[3].a);
  transpose_quads_half(words[0].b, words[1].b, words[2].b, words[3].b);
}

// Write the lanes of the mask side by side and return their number; may write all 16 lanes.
template <typename Lane, typename Vector>
inline int compress_lanes(Lane* p, Vector x, Mask m) {
  alignas(32) Lane lanes[16];
  store(lanes, x);
  int count = 0;
  for (uint32_t left = bits_of_mask(m); left != 0; left &= left - 1) {
    p[count++] = lanes[__builtin_ctz(left)];
  }
  return count;
}
inline int compress(float* p, Floats x, Mask m) { return compress_lanes(p, x, m); }
inline int compress(int32_t* p, Ints x, Mask m) { return compress_lanes(p, x, m); }

// Eight u64 lanes, of which the low halves count.
struct Wides {
  __m256i a, b;
};
constexpr int kWides = 8;
inline Wides wide(uint32_t x) { return {_mm256_set1_epi64x(x), _mm256_set1_epi64x(x)}; }
inline Wides wide_numbers(uint32_t first) {
  const __m256i start = _mm256_set1_epi64x(first);
  return {_mm256_add_epi64(start, _mm256_setr_epi64x(0, 1, 2, 3)),
          _mm256_add_epi64(start, _mm256_setr_epi64x(4, 5, 6, 7))};
}
inline Wides xor_all(Wides x, Wides y, Wides z) {
  return {_mm256_xor_si256(_mm256_xor_si256(x.a, y.a), z.a),
          _mm256_xor_si256(_mm256_xor_si256(x.b, y.b), z.b)};
}
inline Wides multiply_low(Wides x, Wides y) {
  return {_mm256_mul_epu32(x.a, y.a), _mm256_mul_epu32(x.b, y.b)};
}
inline Wides high_half(Wides x) { return {_mm256_srli_epi64(x.a, 32), _mm256_srli_epi64(x.b, 32)}; }
inline Wides max_low(Wides x, Wides y) {
  return {_mm256_max_epu32(x.a, y.a), _mm256_max_epu32(x.b, y.b)};
}
inline void store(uint64_t* p, Wides x) {
  auto* q = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(q, x.a);
  _mm256_storeu_si256(q + 1, x.b);
}

// Sixteen f64 lanes: sums that must not round.
struct Doubles {
  __m256d v[4];
};
inline Doubles zero_doubles() {
  const __m256d zero = _mm256_setzero_pd();
  return {{zero, zero, zero, zero}};
}
inline Doubles operator+(Doubles x, Floats y) {
  return {{_mm256_add_pd(x.v[0], _mm256_cvtps_pd(_mm256_castps256_ps128(y.a))),
           _mm256_add_pd(x.v[1], _mm256_cvtps_pd(_mm256_extractf128_ps(y.a, 1))),
           _mm256_add_pd(x.v[2], _mm256_cvtps_pd(_mm256_castps256_ps128(y.b))),
           _mm256_add_pd(x.v[3], _mm256_cvtps_pd(_mm256_extractf128_ps(y.b, 1)))}};
}
inline void store(double* p, Doubles x) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(p + 4 * i, x.v[i]);
}

}  // namespace
}  // namespace legato
