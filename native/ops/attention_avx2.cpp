#define LEGATO_VECTOR_AVX2
#include "attention_append.h"
#include "attention_unit.h"

namespace legato {

const AttentionKernels kAttentionAvx2 = {append, unit<WidenedProducts>, merge};

}  // namespace legato
