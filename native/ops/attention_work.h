// What one unit of attention works on: its queries, and the cached tokens that they see.
#pragma once

#include "attention_layout.h"
#include "vector.h"

namespace legato {
namespace {

// Register blocks: queries x key tiles, and queries x vectors of 16 dimensions.
#if defined(LEGATO_VECTOR_AVX512)
constexpr int kRows = 6;
constexpr int kColumns = 4;
#elif defined(LEGATO_VECTOR_AVX2)
constexpr int kRows = 6;
constexpr int kColumns = 1;
#else
constexpr int kRows = 3;
constexpr int kColumns = 1;
#endif

constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = -__builtin_inff();

inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// The queries of one unit, and what has been folded of their results so far.
struct Work {
  int32_t queries;  // (row, head) pairs, heads of a row side by side
  int32_t heads;    // of each row
  int32_t head_dim;
  int32_t vectors;  // of 16 dimensions, the last one padded
  alignas(64) float out[kTileQueries * kMaxHeadDim];
  float max[kTileQueries];
  float sum[kTileQueries];
  float keep[kTileQueries];   // factor on what was folded before
  float take[kTileQueries];   // factor on the present split
  int32_t first[kTileQueries];  // visible tokens of the present span, relative to its start
  int32_t last[kTileQueries];   // (empty where last <= first)
};

// The tokens of one split that some query of the unit sees.
template <typename Element>
struct Span {
  int32_t begin;   // position, a multiple of 16
  int32_t tokens;  // up to the last visible one
  int32_t tiles;
  const Element* keys[kSplitTiles];
  const Element* values[kSplitTiles];
};

// Tiles of the span that some query of a register block sees.
struct Range {
  int32_t begin, end;
};

inline int32_t first_visible(const AttentionCall& call, int32_t position) {
  return call.window > 0 ? larger(0, position - call.window + 1) : 0;
}

template <typename Element>
Element* block_start(const KVView& kv, int32_t block, int32_t kv_head) {
  uint8_t* start = kv.pool + block * kv.block_stride +
                   kv_head * head_bytes(kv.block_size, kv.head_dim, kv.type);
  return reinterpret_cast<Element*>(start);
}

template <typename Element>
Span<Element> make_span(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head,
                        int32_t split) {
  const KVView& kv = call.kv;
  const int32_t lowest = larger(split * kSplit, first_visible(call, tile.position));
  Span<Element> span;
  span.begin = lowest / kTile * kTile;
  span.tokens = smaller((split + 1) * kSplit, tile.position + tile.rows) - span.begin;
  span.tiles = (span.tokens + kTile - 1) / kTile;
  const int32_t* table =
      call.batch.block_tables + static_cast<int64_t>(tile.sequence) * call.batch.table_stride;
  for (int32_t i = 0; i < span.tiles; ++i) {
    const int32_t position = span.begin + i * kTile;
    const auto* block = block_start<Element>(kv, table[position / kv.block_size], kv_head);
    const int64_t inside = position % kv.block_size;
    span.keys[i] = block + inside * kv.head_dim;
    span.values[i] = block + static_cast<int64_t>(kv.block_size) * kv.head_dim +
                     inside * padded_dim(kv.head_dim);
  }
  return span;
}

template <typename Element>
void set_visible(const AttentionCall& call, const AttentionTile& tile, const Span<Element>& span,
                 Work& work) {
  for (int32_t i = 0; i < work.queries; ++i) {
    const int32_t position = tile.position + i / work.heads;
    work.first[i] = larger(0, first_visible(call, position) - span.begin);
    work.last[i] = smaller(span.tokens, position + 1 - span.begin);
  }
}

inline Range visible_tiles(const Work& work, int32_t row, int32_t rows) {
  const int32_t last = work.last[row + rows - 1];
  return {work.first[row] / kTile, (last + kTile - 1) / kTile};
}

}  // namespace
}  // namespace legato
