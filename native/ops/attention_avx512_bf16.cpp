#define LEGATO_VECTOR_AVX512
#include "attention_append.h"
#include "attention_pairs.h"
#include "attention_unit.h"

namespace legato {

const AttentionKernels kAttentionAvx512Bf16 = {append, run_unit<PairProducts>, merge};

}  // namespace legato
