#define LEGATO_VECTOR_AVX512
#include "sample_kernel.h"

namespace legato {

const SampleKernels kSampleAvx512 = kKernels;

}  // namespace legato
