// The loops of the linear layer, over the vectors V of one instruction set (linear_<set>.cpp).
//
// V::F is 16 f32 lanes, one for each output row of a panel. Every (row, output) has one sum, to
// which blocks are added in the order of their columns: within a block everything up to the scale
// is exact integer arithmetic. No loop below changes that order, whatever R is.
#pragma once

#include "activations.h"
#include "linear.h"
#include "panel.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

// Panels that all rows pass over before the next ones are touched: they stay in the L2 cache.
constexpr int64_t kStripBytes = 256 << 10;
// How far ahead of its use a weight is asked for when it comes from memory.
constexpr int64_t kPrefetchBytes = 2048;

inline int64_t last_row(const LinearCall& call) {
  return call.last_row < call.m ? call.last_row : call.m;
}

template <class V>
inline __attribute__((always_inline)) void finish(const LinearCall& call, int64_t row,
                                                  int64_t panel, typename V::F value) {
  const int64_t first = panel * kPanelRows;
  const int64_t left = call.weight->rows - first;
  const int lanes = static_cast<int>(left < kPanelRows ? left : kPanelRows);
  const int64_t at = row * call.out_stride + first;
  if (call.bias) value = V::add(value, V::load_first(call.bias + first, lanes));
  if (call.addend) value = V::add(value, V::load_first(call.addend + at, lanes));
  V::store_first(call.out + at, lanes, value);
}

// The digits of activations that a kernel reads besides q. A digit that is 0 everywhere may be left
// out: the sums are of integers, so that no bit of the result depends on it.
enum class Digits { None, Spike, High };

// sum[r] += the block's contribution to R rows that begin at `entry`.
template <class V, Format F, Digits D, int R>
inline __attribute__((always_inline)) void add_block(const typename V::template Block<F>& block,
                                                     const ActivationTile& tile, int64_t entry,
                                                     typename V::F* sum) {
  const ActivationBlock* x = tile.blocks + entry;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const int8_t* high = tile.high + (entry + r) * kQuantBlock;
    const auto dot = V::template dot<F, D>(block, x[r], high);
    const auto scale = V::mul(block.scale, V::broadcast(x[r].scale));
    sum[r] = V::fma(dot, scale, sum[r]);
    if constexpr (layout_of(F).has_min) {
      sum[r] = V::fma(block.min, V::broadcast(x[r].sum), sum[r]);
    }
  }
}

// One panel times R rows of a tile.
template <class V, Format F, Digits D, int R>
inline __attribute__((always_inline)) void multiply_panel(const LinearCall& call,
                                                          const ActivationTile& tile,
                                                          int64_t tile_first, int64_t row,
                                                          int64_t panel) {
  const int64_t columns = call.weight->columns;
  const uint8_t* weights = call.weight->data + panel * panel_bytes(F, columns);
  typename V::F sum[R];
  typename V::template Decoded<F> decoded;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) sum[r] = V::zero();
  int64_t entry = row;
  for (int64_t b = 0; b < columns / kQuantBlock; ++b, entry += tile.rows) {
    const BlockAddress at = block_at<F>(weights, b);
    V::template prefetch<layout_of(F).block_bytes()>(at.quants);
    const auto block = V::template load_block<F, D>(at, decoded);
    if constexpr (requires { &V::template add_block<F, D, R>; }) {
      V::template add_block<F, D, R>(block, tile, entry, sum);
    } else {
      add_block<V, F, D, R>(block, tile, entry, sum);
    }
  }
  typename V::F done[R];  // in memory, for a loop that is not unrolled
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) done[r] = sum[r];
#pragma GCC unroll 1
  for (int r = 0; r < R; ++r) finish<V>(call, tile_first + row + r, panel, done[r]);
}

template <class V, Format F, Digits D, int R>
void multiply_panels(const LinearCall& call, const ActivationTile& tile, int64_t tile_first,
                     int64_t row, int64_t first_panel, int64_t last_panel) {
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    multiply_panel<V, F, D, R>(call, tile, tile_first, row, panel);
  }
}

using BlockKernel = void (*)(const LinearCall&, const ActivationTile&, int64_t, int64_t, int64_t,
                             int64_t);

// The kernel for `count` rows at once, at most R.
template <class V, Format F, Digits D, int R>
BlockKernel block_kernel(int64_t count) {
  if constexpr (R == 1) {
    return multiply_panels<V, F, D, 1>;
  } else {
    return count == R ? multiply_panels<V, F, D, R> : block_kernel<V, F, D, R - 1>(count);
  }
}

// How many of `left` rows to take at once: equal shares of at most `most`.
constexpr int64_t share(int64_t left, int64_t most) {
  const int64_t shares = (left + most - 1) / most;
  return (left + shares - 1) / shares;
}

template <class V, Format F>
BlockKernel kernel_of(Precision precision, int64_t count) {
  if constexpr (V::kWholeTile) {
    if (count == kTileRows) {
      if (precision == Precision::Exact) return multiply_panels<V, F, Digits::High, kTileRows>;
      if (precision == Precision::Fast) return multiply_panels<V, F, Digits::None, kTileRows>;
      return multiply_panels<V, F, Digits::Spike, kTileRows>;
    }
  }
  if (precision == Precision::Exact) return block_kernel<V, F, Digits::High, V::kRows>(count);
  return block_kernel<V, F, Digits::Spike, V::kRows>(count);
}

template <class V, Format F>
void multiply_tile(const LinearCall& call, int64_t index, int64_t first_panel,
                   int64_t last_panel) {
  auto* base = const_cast<uint8_t*>(call.quantised);  // the view serves writers too
  const ActivationTile tile = activation_tile(base, call.m, call.weight->columns, index);
  const bool whole = V::kWholeTile && tile.rows == kTileRows;
  for (int64_t row = 0; row < tile.rows;) {
    const int64_t count = whole ? kTileRows : share(tile.rows - row, V::kRows);
    const BlockKernel kernel = kernel_of<V, F>(call.precision, count);
    kernel(call, tile, index * kTileRows, row, first_panel, last_panel);
    row += count;
  }
}

template <class V, Format F>
void multiply_blocks(const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  const int64_t first_tile = call.first_row / kTileRows;
  const int64_t last_tile = (last_row(call) + kTileRows - 1) / kTileRows;
  const int64_t fitting = kStripBytes / panel_bytes(F, call.weight->columns);
  const int64_t several = fitting > 1 ? fitting : 1;
  const int64_t strip = last_tile - first_tile == 1 ? last_panel - first_panel : several;
  for (int64_t panel = first_panel; panel < last_panel; panel += strip) {
    const int64_t end = panel + strip < last_panel ? panel + strip : last_panel;
    for (int64_t tile = first_tile; tile < last_tile; ++tile) {
      multiply_tile<V, F>(call, tile, panel, end);
    }
  }
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
    V::template prefetch<2 * bytes>(weights);
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
