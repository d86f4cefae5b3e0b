#include "probe_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace legato {
namespace {

constexpr int kChains = 8;  // independent sums: more than latency times throughput

}  // namespace

int64_t int8_peak_portable(int64_t rounds, int32_t* result) {
  rounds /= 8;
  volatile int8_t seed = 3;
  int32_t sums[kChains] = {};
  int8_t a[kChains];
  for (int8_t& value : a) value = seed;
  for (int64_t i = 0; i < rounds; ++i) {
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] += a[chain] * static_cast<int8_t>(i + chain);
    }
  }
  *result = 0;
  for (const int32_t sum : sums) *result += sum;
  return rounds * kChains;
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) int64_t int8_peak_avx2(int64_t rounds, int32_t* result) {
  __m256i sums[kChains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(a));  // the product must not leave the loop
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), ones));
    }
  }
  for (const __m256i& sum : sums) *result += _mm256_extract_epi32(sum, 0);
  return rounds * kChains * 32;
}

__attribute__((target("avx512f,avx512vnni"))) int64_t int8_peak_avx512(int64_t rounds,
                                                                        int32_t* result) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m512i& sum : sums) {
      asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(a));
    }
  }
  for (const __m512i& sum : sums) *result += _mm512_cvtsi512_si32(sum);
  return rounds * kChains * 64;
}

#else

int64_t int8_peak_avx2(int64_t rounds, int32_t* result) {
  return int8_peak_portable(rounds, result);
}
int64_t int8_peak_avx512(int64_t rounds, int32_t* result) {
  return int8_peak_portable(rounds, result);
}

#endif

}  // namespace legato
