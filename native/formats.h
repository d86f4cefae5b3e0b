// Weight formats, as in legato.tensor.WeightFormat. Row-major [rows, columns], rows of whole blocks.
#pragma once

#include <cstdint>

namespace legato {

enum class Format : int32_t { F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K };

// Which instruction set the kernels use. Chosen once, at start; results may differ between paths.
enum class Simd : int32_t { Portable, Avx2, Avx512 };

// How activations are rounded before they meet block-format weights, in blocks of 32: to int8, to
// int8 with 12 bits for the four columns of the largest value, or to 15 bits.
enum class Precision : int32_t { Fast, Balanced, Exact };

}  // namespace legato
