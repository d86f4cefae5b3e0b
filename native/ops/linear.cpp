#include "linear.h"

#include "linear_kernels.h"

namespace legato {
namespace {

const LinearKernels& kernels(Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::Avx512) return kAvx512Linear;
  if (simd == Simd::Avx2) return kAvx2Linear;
#endif
  (void)simd;
  return kPortableLinear;
}

}  // namespace

void quantise_row(Simd simd, Precision precision, const float* x, int64_t row, int64_t first_column,
                  int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised) {
  kernels(simd).quantise_row(precision, x, row, first_column, last_column, rows, columns,
                             quantised);
}

void linear(Simd simd, const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  kernels(simd).linear(call, first_panel, last_panel);
}

}  // namespace legato
