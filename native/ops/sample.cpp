#include "sample.h"

#include "sample_kernels.h"
#include "sample_row.h"

namespace legato {

const SampleKernels& sample_kernels(Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::Avx512) return kSampleAvx512;
  if (simd == Simd::Avx2) return kSampleAvx2;
#else
  (void)simd;
#endif
  return kSamplePortable;
}

int64_t sample_scratch_bytes(int32_t vocab) { return SampleScratch::bytes(vocab); }

void sample_noise(Simd simd, uint64_t seed, uint32_t sample_index, int32_t position, int32_t count,
                  uint32_t* words, float* noise) {
  sample_kernels(simd).noise(noise_key(seed, sample_index, position), count, words, noise);
}

}  // namespace legato
