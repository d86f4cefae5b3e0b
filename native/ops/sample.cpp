#include "sample.h"

#include "sample_kernels.h"

namespace legato {
namespace {

const SampleKernels& kernels(Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::Avx512) return kSampleAvx512;
  if (simd == Simd::Avx2) return kSampleAvx2;
#else
  (void)simd;
#endif
  return kSamplePortable;
}

}  // namespace

int64_t sample_scratch_bytes(int32_t vocab) {
  // Six arrays of the vocabulary, rounded up to whole chunks of 128 and a vector more.
  const int64_t padded = (static_cast<int64_t>(vocab) + 127) / 128 * 128 + 16;
  return 6 * padded * static_cast<int64_t>(sizeof(float));
}

void sample_row(Simd simd, const SamplingState& state, int32_t row, const float* logits,
                const SamplingResult& result, uint8_t* scratch) {
  kernels(simd).row(state, row, logits, result, scratch);
}

void sample_noise(Simd simd, uint64_t seed, uint32_t sample_index, int32_t position, int32_t count,
                  uint32_t* words, float* noise) {
  kernels(simd).noise(seed, sample_index, position, count, words, noise);
}

}  // namespace legato
