// y = x Wᵀ over weights repacked into panels of 16 output rows, in any format of formats.h.
//
// For one (row, output) the order of every floating-point addition is fixed: the result is the same
// at any m, any panel range, any thread. Nothing here allocates or synchronises.
#pragma once

#include <cstdint>

#include "../formats.h"

namespace legato {

constexpr int64_t kPanelRows = 16;     // output rows of one panel
constexpr int64_t kQuantBlock = 32;    // columns that share an activation scale
constexpr int64_t kTileRows = 16;      // activation rows that lie together (activations.h)
constexpr int64_t kTallRows = 64;      // activation rows that share the loading of weights

// A weight in panel order (panel.h). `data` is 64-byte aligned and stays owned by the caller.
struct PackedWeight {
  Format format;
  int64_t rows;     // outputs; the last panel is padded with zeros
  int64_t columns;  // inputs: a multiple of 32 for block formats, of 256 for K-quants, else any
  const uint8_t* data;
  int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

// True for formats whose activations are quantised (quantise_row); false for F32, F16 and BF16.
bool is_block_format(Format format);

// Bytes of a packed weight; pack panels [first, last) from the file's bytes. Lossless.
int64_t packed_bytes(Format format, int64_t rows, int64_t columns);
void pack_panels(Format format, const uint8_t* source, int64_t rows, int64_t columns,
                 uint8_t* target, int64_t first_panel, int64_t last_panel);
// The weights as f32, row-major [rows, columns]: bit for bit what the file's bytes dequantise to.
void unpack_panels(const PackedWeight& weight, float* out);

// Scratch for activations [rows, columns] as block formats read them (activations.h), 64-byte
// aligned. Columns are a multiple of kQuantBlock.
int64_t quantised_bytes(int64_t rows, int64_t columns);
// Quantise columns [first_column, last_column) (multiples of kQuantBlock) of one row. `x` is the
// whole row: x[first_column] is read first. A block with a NaN or an infinity becomes NaN.
void quantise_row(Simd simd, Precision precision, const float* x, int64_t row, int64_t first_column,
                  int64_t last_column, int64_t rows, int64_t columns, uint8_t* quantised);

struct LinearCall {
  const PackedWeight* weight;
  const uint8_t* quantised;  // [m, columns] from quantise_row with rows = m; used by block formats
  Precision precision;       // that `quantised` was written with
  const float* x;            // [m, columns] f32, row stride x_stride; used by float formats
  int64_t x_stride;
  int64_t m;                 // activation rows
  const float* bias;         // [rows] or null, added to the finished sum
  const float* addend;       // [m, rows], row stride out_stride, added last (residual), or null
  float* out;                // [m, rows], row stride out_stride; may be `addend`
  int64_t out_stride;
  // Activation rows to compute; the first is a multiple of kTileRows.
  int64_t first_row = 0;
  int64_t last_row = INT64_MAX;  // or m, if that is less
};

// Compute output panels [first_panel, last_panel) for the call's rows.
void linear(Simd simd, const LinearCall& call, int64_t first_panel, int64_t last_panel);

}  // namespace legato
