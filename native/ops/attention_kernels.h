// What each instruction set's file gives to attention.cpp.
#pragma once

#include "attention.h"

namespace legato {

struct AttentionKernels {
  void (*append)(const KVView&, const Ragged&, int32_t sequence, int32_t first, int32_t count,
                 const float* k, int64_t k_stride, const float* v, int64_t v_stride);
  // split < 0: all splits of the tile, and the final result.
  void (*unit)(const AttentionCall&, const AttentionTile&, int32_t kv_head, int32_t split,
               uint8_t* scratch);
  void (*merge)(const AttentionCall&, const AttentionTile&, int32_t kv_head, uint8_t* scratch);
};

extern const AttentionKernels kAttentionPortable;
extern const AttentionKernels kAttentionAvx2;
extern const AttentionKernels kAttentionAvx512;
extern const AttentionKernels kAttentionAvx512Bf16;  // an f16 cache and even head sizes only

}  // namespace legato
