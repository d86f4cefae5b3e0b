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
inline void store_pairs(uint16_t* p, Pairs a) {
  _mm512_storeu_si512(p, reinterpret_cast<__m512i>(a.v));
}
// The pair at p in every lane.
inline Pairs splat_pair(const uint16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return as_pairs(_mm512_set1_epi32(pair));
}

inline Floats add_products(Pairs a, Pairs b, Floats sum) {
  return {_mm512_dpbf16_ps(sum.v, a.v, b.v)};
}

// Thirty-two values in order, rounded to nearest even.
inline Pairs round_pairs(Floats first, Floats second) {
  return {_mm512_cvtne2ps_pbh(second.v, first.v)};
}

// Lane i holds first[i] and second[i], rounded.
inline Pairs zip_pairs(Floats first, Floats second) {
  alignas(64) static constexpr int16_t kOrder[32] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i halves = reinterpret_cast<__m512i>(round_pairs(first, second).v);
  return as_pairs(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), halves));
}

// Sixteen values, rounded to nearest even; they are stored and returned.
inline Floats store_rounded(uint16_t* p, Floats a) {
  const __m256i half = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}

// 2^x with an error below 2^-13, far less than bf16 holds; 0 below -149, infinity above 127.
inline Floats exp2_coarse(Floats x) {
  const __m512 f = _mm512_reduce_ps(x.v, 1);  // x - floor(x)
  Floats p = splat(0.07802419f);
  p = fma(p, {f}, splat(0.22606721f));
  p = fma(p, {f}, splat(0.69583374f));
  p = fma(p, {f}, splat(0.99992517f));
  return {_mm512_scalef_ps(p.v, x.v)};
}

}  // namespace
}  // namespace legato

#pragma GCC diagnostic pop
