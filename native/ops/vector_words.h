// Thirty-two signed 16-bit words as sixteen pairs, at the instruction set of vector.h. A product of
// pairs adds both products to a 32-bit lane: exact, whatever the order.
#pragma once

#include "vector.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wpsabi"

namespace legato {
namespace {

#if defined(LEGATO_VECTOR_AVX512)

struct Words {
  __m512i v;
};
inline Words load_bytes(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline Words words_of(int32_t pair) { return {_mm512_set1_epi32(pair)}; }
inline Ints add_products(Words a, Words b, Ints sum) {
  return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)};
}
inline void store_words(int16_t* p, Ints a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}

#elif defined(LEGATO_VECTOR_AVX2)

struct Words {
  __m256i a, b;
};
inline Words load_bytes(const int8_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(q)), _mm256_cvtepi8_epi16(_mm_loadu_si128(q + 1))};
}
inline Words words_of(int32_t pair) { return {_mm256_set1_epi32(pair), _mm256_set1_epi32(pair)}; }
inline Ints add_products(Words x, Words y, Ints sum) {
  return {_mm256_add_epi32(sum.a, _mm256_madd_epi16(x.a, y.a)),
          _mm256_add_epi32(sum.b, _mm256_madd_epi16(x.b, y.b))};
}
inline void store_words(int16_t* p, Ints x) {
  const __m256i mixed = _mm256_packs_epi32(x.a, x.b);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
}

#else

struct Words {
  IntLanes v;  // the second of a pair in the upper half
};
inline Words load_bytes(const int8_t* p) {
  IntLanes lanes;
  for (int i = 0; i < 16; ++i) lanes[i] = static_cast<uint16_t>(p[2 * i]) | p[2 * i + 1] * 65536;
  return {lanes};
}
inline Words words_of(int32_t pair) { return {splat(pair).v}; }
inline IntLanes first_words(IntLanes pairs) { return shift_left<16>(Ints{pairs}).v >> 16; }
inline Ints add_products(Words a, Words b, Ints sum) {
  return {sum.v + first_words(a.v) * first_words(b.v) + (a.v >> 16) * (b.v >> 16)};
}
inline void store_words(int16_t* p, Ints a) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int16_t>(a.v[i]);
}

#endif

// The pair at p in every lane.
inline Words splat_words(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return words_of(pair);
}

}  // namespace
}  // namespace legato

#pragma GCC diagnostic pop
