// One row of a weight in any format, as f32: exact, in the order of operations that ggml defines.
#pragma once

#include <cstdint>

#include "../formats.h"

namespace legato {

// Bytes of a row of `columns` elements, a multiple of the format's block.
int64_t row_bytes(Format format, int64_t columns);

void dequantise_row(Format format, const uint8_t* source, int64_t columns, float* out);

}  // namespace legato
