#define LEGATO_VECTOR_PORTABLE
#include "sample_kernel.h"

namespace legato {

const SampleKernels kSamplePortable = kKernels;

}  // namespace legato
