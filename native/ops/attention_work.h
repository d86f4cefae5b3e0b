// What one unit of attention works on: its queries, and the cached tokens that they see.
#pragma once

#include "attention_layout.h"
#include "vector.h"

namespace legato {
namespace {

// Queries of a register block.
#if defined(LEGATO_VECTOR_AVX512)
constexpr int kRows = 6;
#elif defined(LEGATO_VECTOR_AVX2)
constexpr int kRows = 4;
#else
constexpr int kRows = 3;
#endif

constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = -__builtin_inff();

inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// The queries of one unit, and what has been folded of their results so far.
struct Work {
  int32_t queries;  // (row, head) pairs, heads of a row side by side
  int32_t heads;    // of each row
  int32_t key_dim;  // dimensions of a key, as stored
  int32_t vectors;  // of 16 dimensions, the last one padded
  alignas(64) float out[kTileQueries * kMaxHeadDim];
  float query_unit[kTileQueries];   // what one of an integer query stands for
  float weight_unit[kTileQueries];  // likewise of a weight, in the present split
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
  const float* key_scales[kSplitTiles];  // of int8 only
  const float* value_scales[kSplitTiles];
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

// The scales of a block's keys; those of its values follow.
template <typename Element>
float* block_scales(const KVView& kv, Element* block) {
  const int64_t elements = kv.block_size * vector_elements(kv.head_dim, kv.type);
  return reinterpret_cast<float*>(reinterpret_cast<uint8_t*>(block) +
                                  elements * element_bytes(kv.type));
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
  const int64_t dim = key_dim(kv.head_dim, kv.type);
  const int32_t* table =
      call.batch.block_tables + static_cast<int64_t>(tile.sequence) * call.batch.table_stride;
  for (int32_t i = 0; i < span.tiles; ++i) {
    const int32_t position = span.begin + i * kTile;
    auto* block = block_start<Element>(kv, table[position / kv.block_size], kv_head);
    const int64_t inside = position % kv.block_size;
    span.keys[i] = block + inside * dim;
    span.values[i] = block + kv.block_size * dim + inside * padded_dim(kv.head_dim);
    if (kv.type != KVType::Int8) continue;
    span.key_scales[i] = block_scales(kv, block) + inside;
    span.value_scales[i] = span.key_scales[i] + kv.block_size;
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
