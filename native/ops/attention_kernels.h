// What each instruction set's file gives to attention.cpp.
#pragma once

#include "attention.h"

namespace legato {

struct AttentionUnit {
  const AttentionTile* tile;  // null: no unit
  int32_t kv_head;
  int32_t split;  // < 0: all splits of the tile, and the final result
};

struct AttentionKernels {
  void (*append)(const KVView&, const Ragged&, int32_t sequence, int32_t first, int32_t count,
                 const float* k, int64_t k_stride, const float* v, int64_t v_stride);
  // `next`: what the same thread will probably be given next.
  void (*unit)(const AttentionCall&, const AttentionUnit& unit, const AttentionUnit& next,
               uint8_t* scratch);
  void (*merge)(const AttentionCall&, const AttentionTile&, int32_t kv_head, uint8_t* scratch);
};

extern const AttentionKernels kAttentionPortable;
extern const AttentionKernels kAttentionAvx2;
extern const AttentionKernels kAttentionAvx512;
extern const AttentionKernels kAttentionAvx512Bf16;  // a bf16 cache only

}  // namespace legato
