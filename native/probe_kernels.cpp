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

// The sums have names of their own: an array of them would be kept in memory.
__attribute__((target("avx2"))) int64_t int8_peak_avx2(int64_t rounds, int32_t* result) {
  __m256i s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  __m256i a = _mm256_set1_epi8(3);
  const __m256i ones = _mm256_set1_epi16(1);
  const auto dot = [&](__m256i& sum) __attribute__((target("avx2"), always_inline)) {
    asm volatile("" : "+x"(a));  // the product must not leave the loop
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), ones));
  };
  for (int64_t i = 0; i < rounds; ++i) {
    dot(s0), dot(s1), dot(s2), dot(s3), dot(s4), dot(s5), dot(s6), dot(s7);
  }
  const __m256i low = _mm256_add_epi32(_mm256_add_epi32(s0, s1), _mm256_add_epi32(s2, s3));
  const __m256i high = _mm256_add_epi32(_mm256_add_epi32(s4, s5), _mm256_add_epi32(s6, s7));
  *result = _mm256_extract_epi32(_mm256_add_epi32(low, high), 0);
  return rounds * kChains * 32;
}

__attribute__((target("avx512f,avx512vnni"))) int64_t int8_peak_avx512(int64_t rounds,
                                                                        int32_t* result) {
  __m512i s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  const __m512i a = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile(
        "vpdpbusd %8, %8, %0\n vpdpbusd %8, %8, %1\n vpdpbusd %8, %8, %2\n vpdpbusd %8, %8, %3\n"
        "vpdpbusd %8, %8, %4\n vpdpbusd %8, %8, %5\n vpdpbusd %8, %8, %6\n vpdpbusd %8, %8, %7"
        : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7)
        : "v"(a));
  }
  const __m512i low = _mm512_add_epi32(_mm512_add_epi32(s0, s1), _mm512_add_epi32(s2, s3));
  const __m512i high = _mm512_add_epi32(_mm512_add_epi32(s4, s5), _mm512_add_epi32(s6, s7));
  *result = _mm512_cvtsi512_si32(_mm512_add_epi32(low, high));
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
