// Block formats times the few rows whose sums fit the registers, over the vectors V of one
// instruction set.
//
// V::F is 16 f32 lanes, one for each output row of a panel. Every (row, output) has one sum, to
// which blocks are added in the order of their columns: within a block everything up to the scale
// is exact integer arithmetic. No loop here or in linear_tall.h changes that order.
#pragma once

#include "activations.h"
#include "linear.h"
#include "panel.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

// How weights are asked for ahead of their use: far enough for memory, into L2, which has room for
// more requests under way than L1; or near, into L1, where much is computed with each of them.
enum class Ahead { Near, Far };

constexpr int64_t bytes_ahead(Ahead ahead) { return ahead == Ahead::Near ? 2048 : 8192; }

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

// Asks for the line that finish() will write: many at once would wait for each other.
inline void prefetch_out(const LinearCall& call, int64_t row, int64_t panel) {
  __builtin_prefetch(call.out + row * call.out_stride + panel * kPanelRows, 1);
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
    V::template prefetch<layout_of(F).block_bytes(), Ahead::Far>(at.quants);
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

// All rows of a call that has at most V::kRows.
template <class V, Format F>
void multiply_few(const LinearCall& call, int64_t first_panel, int64_t last_panel) {
  auto* base = const_cast<uint8_t*>(call.quantised);  // the view serves writers too
  const ActivationTile tile = activation_tile(base, call.m, call.weight->columns, 0);
  const BlockKernel kernel = call.precision == Precision::Exact
                                 ? block_kernel<V, F, Digits::High, V::kRows>(call.m)
                                 : block_kernel<V, F, Digits::Spike, V::kRows>(call.m);
  kernel(call, tile, 0, 0, first_panel, last_panel);
}

}  // namespace
}  // namespace legato
