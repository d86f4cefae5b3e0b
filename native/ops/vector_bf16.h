// Pairs of bf16 in 16 lanes, over AVX-512 BF16. A product of pairs adds both products to an f32
// lane, the first pair element last; subnormals count as zero.
#pragma once

#include "vector.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

namespace legato {
namespace {

struct Pairs {
  __m512bh v;
};

inline Pairs as_pairs(__m512i a) { return {reinterpret_cast<__m512bh>(a)}; }
inline Pairs load_pairs(const uint16_t* p) { return as_pairs(_mm512_loadu_si512(p)); }
// The pair at p in every lane.
inline Pairs splat_pair(const uint16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return as_pairs(_mm512_set1_epi32(pair));
}

inline Floats add_products(Pairs a, Pairs b, Floats sum) {
  return {_mm512_dpbf16_ps(sum.v, a.v, b.v)};
}

// The first of each pair, with zero.
inline Pairs first_of_pairs(Pairs a) {
  return as_pairs(_mm512_and_si512(reinterpret_cast<__m512i>(a.v), _mm512_set1_epi32(0xffff)));
}

// Sixteen values, rounded to nearest even.
inline void store_rounded(uint16_t* p, Floats a) {
  const __m256i half = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
}

// 2^(x - minus) with an error below 2^-13, far less than bf16 holds; 0 for exponents below -149,
// infinity above 127. Differences are multiply-adds to spare the units that round and scale.
inline Floats exp2_coarse(Floats x, Floats minus) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 exponent = _mm512_fmsub_ps(x.v, one, minus.v);
  const __m512 f = _mm512_fmsub_ps(exponent, one, _mm512_roundscale_ps(exponent, 9));  // floor
  Floats p = splat(0.07802419f);
  p = fma(p, {f}, splat(0.22606721f));
  p = fma(p, {f}, splat(0.69583374f));
  p = fma(p, {f}, splat(0.99992517f));
  return {_mm512_scalef_ps(p.v, exponent)};
}

}  // namespace
}  // namespace legato

#pragma GCC diagnostic pop
