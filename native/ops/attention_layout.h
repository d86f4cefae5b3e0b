// Where a token's key and value lie inside a KV block.
//
// A block holds, per KV head: keys as [tokens / 16][head_dim][16 tokens], so that 16 tokens of one
// dimension are one vector; then values as [tokens][head_dim rounded up to 16], so that P V adds
// rows. bf16 and int8 lie in pairs, as instructions take them: keys as [tokens / 16][head_dim / 2]
// [16 tokens][2 dimensions], values as [tokens / 2][dimensions][2 tokens]. After int8 come the
// scales, f32: [tokens] of the keys, then [tokens] of the values.
// Included by files with their own -m flags, hence the unnamed namespace.
#pragma once

#include "attention.h"

namespace legato {
namespace {

constexpr int kTile = 16;           // tokens of one key vector
constexpr int kSplit = 256;         // tokens whose softmax is computed at once, from position 0 on
constexpr int kSplitTiles = kSplit / kTile;
constexpr int kTileQueries = 96;    // (row, head) pairs that share one pass over keys and values
constexpr int kMaxHeadDim = 512;
constexpr int kStagedDim = 256;     // larger heads are converted each time that they are read

constexpr bool in_pairs(KVType type) { return type == KVType::BF16 || type == KVType::Int8; }

constexpr int64_t padded_dim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }
constexpr int32_t key_dim(int32_t head_dim, KVType type) {
  return in_pairs(type) ? (head_dim + 1) / 2 * 2 : head_dim;
}

constexpr int64_t element_bytes(KVType type) {
  return type == KVType::F32 ? 4 : type == KVType::Int8 ? 1 : 2;
}
constexpr int64_t vector_elements(int32_t head_dim, KVType type) {  // of a key and a value
  return key_dim(head_dim, type) + padded_dim(head_dim);
}

constexpr int64_t head_bytes(int32_t block_size, int32_t head_dim, KVType type) {
  const int64_t scales = type == KVType::Int8 ? 2 * static_cast<int64_t>(sizeof(float)) : 0;
  return block_size * (vector_elements(head_dim, type) * element_bytes(type) + scales);
}

// One (m, l, o) of one (row, head) and split: m and l in the first 16 floats, then o.
constexpr int64_t partial_floats(int32_t head_dim) { return 16 + padded_dim(head_dim); }

// Heads of one KV head that are computed together, and rows beside them.
constexpr int32_t heads_at_once(int32_t group) {
  return group < kTileQueries ? group : kTileQueries;
}
constexpr int32_t rows_at_once(int32_t group) { return kTileQueries / heads_at_once(group); }

}  // namespace
}  // namespace legato
