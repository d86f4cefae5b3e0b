// Which instruction sets this processor has.
#pragma once

#include "formats.h"

namespace legato {

bool supports(Simd simd);
Simd best_simd();

}  // namespace legato
