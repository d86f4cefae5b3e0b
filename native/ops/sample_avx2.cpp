#define LEGATO_VECTOR_AVX2
#include "sample_kernel.h"

namespace legato {

const SampleKernels kSampleAvx2 = kKernels;

}  // namespace legato
