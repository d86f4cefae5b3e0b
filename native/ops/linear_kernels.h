// What one instruction set provides; linear.cpp chooses among them.
#pragma once

#include "linear.h"

namespace legato {

struct LinearKernels {
  void (*linear)(const LinearCall& call, int64_t first_panel, int64_t last_panel);
  void (*quantise_row)(Precision precision, const float* x, int64_t row, int64_t first_column,
                       int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised);
};

extern const LinearKernels kPortableLinear;
extern const LinearKernels kAvx2Linear;
extern const LinearKernels kAvx512Linear;

}  // namespace legato
