// Paged attention over a ragged batch of prefill and decode rows, and the append that feeds it.
//
// For one (row, head) the order of every floating-point operation depends only on its position and
// the window: splits and tiles lie at fixed absolute positions and merge in order.
#pragma once

#include <cstdint>
#include <vector>

#include "../formats.h"

namespace legato {

enum class KVType : int32_t { F32, F16, BF16, Int8 };

// One layer's share of the KV pool. The inside layout of a block is attention.cpp's own matter.
struct KVView {
  uint8_t* pool;         // block 0, start of this layer's share
  int64_t block_stride;  // bytes from one block to the next
  int32_t block_size;    // tokens per block, a multiple of 16
  int32_t kv_heads;
  int32_t head_dim;
  KVType type;
};

// The batch: sequence s owns rows [query_starts[s], query_starts[s+1]), which end at position
// kv_lengths[s] - 1. block_tables: [sequences, table_stride], -1 where not needed.
struct Ragged {
  int32_t sequences;
  const int32_t* query_starts;
  const int32_t* kv_lengths;
  const int32_t* block_tables;
  int32_t table_stride;
};

struct AttentionCall {
  KVView kv;
  Ragged batch;
  int32_t heads;       // query heads; a multiple of kv_heads
  float scale;
  float soft_cap;      // 0: none
  int32_t window;      // tokens a row sees, itself included; 0: all
  const float* q;      // [rows, heads * head_dim], row stride q_stride
  int64_t q_stride;
  float* out;          // [rows, heads * head_dim], row stride out_stride
  int64_t out_stride;
};

// Bytes that one layer needs in one block.
int64_t kv_layer_bytes(int32_t block_size, int32_t kv_heads, int32_t head_dim, KVType type);

// How queries meet the keys of such a cache there: "f32", "bf16", or "int16" (whole numbers).
const char* attention_products(Simd simd, KVType type);

// Write keys and values of `count` consecutive rows of sequence s, from its row `first` on
// (0: its first row in the batch). k, v point at the batch's row 0, with the given strides.
void kv_append(Simd simd, const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
               int32_t count, const float* k, int64_t k_stride, const float* v, int64_t v_stride);

// A run of consecutive rows of one sequence, and the splits of the cache that they see.
struct AttentionTile {
  int32_t sequence;
  int32_t first_row;    // in the batch
  int32_t rows;
  int32_t position;     // of first_row
  int32_t first_split;
  int32_t splits;       // splits seen by any of the rows
  int32_t first_unit;   // units of this tile: kv_heads, times `splits` where it is split
  int32_t first_merge;  // merges of this tile: kv_heads where it is split, else none
  int64_t partials;     // offset of its partial results in the scratch, bytes
  bool split;           // one unit a split (few rows, long context), or one unit for all of them
};

// How one step's attention is cut into units that any thread may compute in any order; after a
// barrier the merge units combine splits. It depends on the batch, the window and the numbers of
// heads: layers that share these share a plan.
struct AttentionPlan {
  int32_t units = 0;
  int32_t merges = 0;         // may be 0
  int64_t scratch_bytes = 0;  // shared by all units and merges; 64-byte aligned
  std::vector<AttentionTile> tiles;
};
// Throws std::invalid_argument for a head_dim over 512 or heads that do not fit kv_heads.
AttentionPlan plan_attention(const AttentionCall& call);
// `next`: the unit that this thread will probably compute next, which is fetched ahead; a number
// outside of the plan means that there is none.
void attention_unit(Simd simd, const AttentionCall& call, const AttentionPlan& plan, int32_t unit,
                    int32_t next, uint8_t* scratch);
void attention_merge(Simd simd, const AttentionCall& call, const AttentionPlan& plan, int32_t merge,
                     uint8_t* scratch);

}  // namespace legato
