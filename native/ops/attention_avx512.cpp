#define LEGATO_VECTOR_AVX512
#include "attention_append.h"
#include "attention_unit.h"

namespace legato {

const AttentionKernels kAttentionAvx512 = {append, unit<WidenedProducts>, merge};

}  // namespace legato
