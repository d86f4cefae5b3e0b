// Block formats times many rows, over the vectors V of one instruction set.
#pragma once

#include "linear_rows.h"

namespace legato {
namespace {  // compiled once per instruction set: internal linkage keeps the copies apart

// Rows that one loading of a block of weights serves, so that what loading costs hardly counts.
// Their sums lie in memory, which leaves the registers to the weights.
constexpr int64_t kTallTiles = kTallRows / kTileRows;

struct TallTiles {
  ActivationTile tile[kTallTiles];
  int64_t count, first_row, rows;
};

// An instruction set may have a form of blocks for many rows (load_tall) and a loop over rows.
template <class V, Format F, Digits D>
inline __attribute__((always_inline)) auto load_tall(
    const BlockAddress& at, typename V::template Decoded<F>& decoded) {
  if constexpr (requires { V::template load_tall<F, D>(at, decoded); }) {
    return V::template load_tall<F, D>(at, decoded);
  } else {
    return V::template load_block<F, D>(at, decoded);
  }
}
template <class V, Format F, Digits D, class Block>
inline __attribute__((always_inline)) void add_rows(const Block& block, const ActivationTile& tile,
                                                    int64_t entry, typename V::F* sum) {
  if constexpr (requires { V::template add_rows<F, D>(block, tile, entry, sum); }) {
    V::template add_rows<F, D>(block, tile, entry, sum);
  } else {
#pragma GCC unroll 4
    for (int64_t r = 0; r < tile.rows; ++r) add_block<V, F, D, 1>(block, tile, entry + r, sum + r);
  }
}

template <class V, Format F, Digits D>
void multiply_tall_panel(const LinearCall& call, const TallTiles& tall, int64_t panel) {
  const int64_t columns = call.weight->columns;
  const uint8_t* weights = call.weight->data + panel * panel_bytes(F, columns);
  typename V::F sum[kTallTiles * kTileRows];
  typename V::template Decoded<F> decoded;
  for (int64_t r = 0; r < tall.rows; ++r) {
    sum[r] = V::zero();
    prefetch_out(call, tall.first_row + r, panel);
  }
  for (int64_t b = 0; b < columns / kQuantBlock; ++b) {
    const BlockAddress at = block_at<F>(weights, b);
    V::template prefetch<layout_of(F).block_bytes(), Ahead::Near>(at.quants);
    const auto block = load_tall<V, F, D>(at, decoded);
    for (int64_t t = 0; t < tall.count; ++t) {
      const ActivationTile& tile = tall.tile[t];
      add_rows<V, F, D>(block, tile, b * tile.rows, sum + t * kTileRows);
    }
  }
  for (int64_t r = 0; r < tall.rows; ++r) finish<V>(call, tall.first_row + r, panel, sum[r]);
}

template <class V, Format F, Digits D>
void multiply_tall(const LinearCall& call, int64_t first_tile, int64_t last_tile,
                   int64_t first_panel, int64_t last_panel) {
  auto* base = const_cast<uint8_t*>(call.quantised);
  TallTiles tall{{}, last_tile - first_tile, first_tile * kTileRows, 0};
  for (int64_t t = 0; t < tall.count; ++t) {
    tall.tile[t] = activation_tile(base, call.m, call.weight->columns, first_tile + t);
    tall.rows += tall.tile[t].rows;
  }
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    multiply_tall_panel<V, F, D>(call, tall, panel);
  }
}

template <class V, Format F, Digits D>
void multiply_many(const LinearCall& call, int64_t first_tile, int64_t last_tile,
                   int64_t first_panel, int64_t last_panel) {
  if constexpr (V::kTileInRegisters && !requires { &V::template load_tall<F, D>; }) {
    auto* base = const_cast<uint8_t*>(call.quantised);
    const ActivationTile tile = activation_tile(base, call.m, call.weight->columns, first_tile);
    if (last_tile - first_tile == 1 && tile.rows == kTileRows) {
      const int64_t row = first_tile * kTileRows;
      return multiply_panels<V, F, D, kTileRows>(call, tile, row, 0, first_panel, last_panel);
    }
  }
  multiply_tall<V, F, D>(call, first_tile, last_tile, first_panel, last_panel);
}

}  // namespace
}  // namespace legato
