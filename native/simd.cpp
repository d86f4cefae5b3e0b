#include "simd.h"

namespace legato {

bool supports(Simd simd) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (simd) {
    case Simd::Avx512:
      return supports(Simd::Avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    case Simd::Avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("f16c");
    case Simd::Portable: return true;
  }
#endif
  return simd == Simd::Portable;
}

Simd best_simd() {
  if (supports(Simd::Avx512)) return Simd::Avx512;
  return supports(Simd::Avx2) ? Simd::Avx2 : Simd::Portable;
}

}  // namespace legato
