// The loops of the linear layer, over the vectors V of one instruction set (linear_<set>.cpp).
#pragma once

#include "linear_rows.h"
#include "linear_tall.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

// Panels that all rows pass over before the next ones are touched: they stay in the L2 cache.
constexpr int64_t kStripBytes = 256 << 10;

inline int64_t last_row(const LinearCall& call) {
  return call.last_row < call.m ? call.last_row : call.m;
}

template <class V, Format F>
void multiply_blocks(const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  if (call.m <= V::kRows) return multiply_few<V, F>(call, first_panel, last_panel);
  const auto multiply = call.precision == Precision::Fast       ? multiply_many<V, F, Digits::None>
                        : call.precision == Precision::Balanced ? multiply_many<V, F, Digits::Spike>
                                                                : multiply_many<V, F, Digits::High>;
  const int64_t first_tile = call.first_row / kTileRows;
  const int64_t last_tile = (last_row(call) + kTileRows - 1) / kTileRows;
  const int64_t fitting = kStripBytes / panel_bytes(F, call.weight->columns);
  const int64_t several = fitting > 1 ? fitting : 1;
  const int64_t strip = last_tile - first_tile <= kTallTiles ? last_panel - first_panel : several;
  for (int64_t panel = first_panel; panel < last_panel; panel += strip) {
    const int64_t end = panel + strip < last_panel ? panel + strip : last_panel;
    for (int64_t tile = first_tile; tile < last_tile; tile += kTallTiles) {
      const int64_t after = tile + kTallTiles < last_tile ? tile + kTallTiles : last_tile;
      multiply(call, tile, after, panel, end);
    }
  }
}

// How many of `left` rows to take at once: equal shares of at most `most`.
constexpr int64_t share(int64_t left, int64_t most) {
  const int64_t shares = (left + most - 1) / most;
  return (left + shares - 1) / shares;
}

// Float formats: two sums per (row, output), over the even and the odd columns.
template <class V, Format F, int R>
void multiply_float_panel(const LinearCall& call, int64_t row, int64_t panel) {
  constexpr int64_t bytes = kPanelRows * float_bytes(F);
  const int64_t columns = call.weight->columns;
  const uint8_t* weights = call.weight->data + panel * panel_bytes(F, columns);
  const float* x = call.x + row * call.x_stride;
  typename V::F even[R], odd[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) even[r] = odd[r] = V::zero();
  int64_t k = 0;
  for (; k + 2 <= columns; k += 2, weights += 2 * bytes) {
    V::template prefetch<2 * bytes, Ahead::Near>(weights);
    const auto first = V::template load_floats<F>(weights);
    const auto second = V::template load_floats<F>(weights + bytes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      even[r] = V::fma(first, V::broadcast(x[r * call.x_stride + k]), even[r]);
      odd[r] = V::fma(second, V::broadcast(x[r * call.x_stride + k + 1]), odd[r]);
    }
  }
  if (k < columns) {
    const auto last = V::template load_floats<F>(weights);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      even[r] = V::fma(last, V::broadcast(x[r * call.x_stride + k]), even[r]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) even[r] = V::add(even[r], odd[r]);
#pragma GCC unroll 1
  for (int r = 0; r < R; ++r) finish<V>(call, row + r, panel, even[r]);
}

using FloatKernel = void (*)(const LinearCall&, int64_t, int64_t);

template <class V, Format F, int R>
FloatKernel float_kernel(int64_t count) {
  if constexpr (R == 1) {
    return multiply_float_panel<V, F, 1>;
  } else {
    return count == R ? multiply_float_panel<V, F, R> : float_kernel<V, F, R - 1>(count);
  }
}

template <class V, Format F>
void multiply_floats(const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    for (int64_t row = call.first_row; row < last_row(call);) {
      const int64_t count = share(last_row(call) - row, V::kRows);
      float_kernel<V, F, V::kRows>(count)(call, row, panel);
      row += count;
    }
  }
}

template <class V>
void multiply(const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  switch (call.weight->format) {
    case Format::F32: return multiply_floats<V, Format::F32>(call, first_panel, last_panel);
    case Format::F16: return multiply_floats<V, Format::F16>(call, first_panel, last_panel);
    case Format::BF16: return multiply_floats<V, Format::BF16>(call, first_panel, last_panel);
    default:
      with_format(call.weight->format,
                  [&]<Format F>() { multiply_blocks<V, F>(call, first_panel, last_panel); });
  }
}

}  // namespace
}  // namespace legato
