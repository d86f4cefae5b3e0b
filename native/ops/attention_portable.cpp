#define LEGATO_VECTOR_PORTABLE
#include "attention_append.h"
#include "attention_unit.h"

namespace legato {

const AttentionKernels kAttentionPortable = {append, unit<WidenedProducts>, merge};

}  // namespace legato
