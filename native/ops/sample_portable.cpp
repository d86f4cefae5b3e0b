#define LEGATO_VECTOR_PORTABLE
#include "sample_kernel.h"

namespace legato {

const SampleKernels kSamplePortable = {sample, noise};

}  // namespace legato
