// Writing keys and values into the blocks, once over vector.h (see attention_layout.h).
#pragma once

#include "attention_products.h"

namespace legato {
namespace {

template <typename Cache>
void write_key(typename Cache::Element* target, const float* source, int32_t head_dim) {
  typename Cache::Element converted[kLanes];
  for (int32_t d = 0; d < head_dim; d += kLanes) {
    Cache::write(converted, dimensions(source, d, head_dim));
    const int32_t count = smaller(kLanes, head_dim - d);
    for (int32_t i = 0; i < count; ++i) target[(d + i) * kTile] = converted[i];
  }
}

template <typename Cache>
void write_value(typename Cache::Element* target, const float* source, int32_t head_dim) {
  for (int32_t d = 0; d < head_dim; d += kLanes) {
    Cache::write(target + d, dimensions(source, d, head_dim));
  }
}

template <typename Cache>
void write_token(const KVView& kv, int32_t block, int32_t inside, const float* k, const float* v) {
  const int64_t key = inside / kTile * kTile * static_cast<int64_t>(kv.head_dim) + inside % kTile;
  const int64_t value = static_cast<int64_t>(kv.block_size) * kv.head_dim +
                        inside * padded_dim(kv.head_dim);
  for (int32_t head = 0; head < kv.kv_heads; ++head) {
    auto* start = block_start<typename Cache::Element>(kv, block, head);
    write_key<Cache>(start + key, k + head * kv.head_dim, kv.head_dim);
    write_value<Cache>(start + value, v + head * kv.head_dim, kv.head_dim);
  }
}

template <typename Cache>
void append_tokens(const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
                   int32_t count, const float* k, int64_t k_stride, const float* v,
                   int64_t v_stride) {
  const int32_t start = batch.query_starts[sequence];
  const int32_t rows = batch.query_starts[sequence + 1] - start;
  const int32_t* table = batch.block_tables + static_cast<int64_t>(sequence) * batch.table_stride;
  for (int32_t i = first; i < first + count; ++i) {
    const int32_t position = batch.kv_lengths[sequence] - rows + i;
    const int64_t row = start + i;
    write_token<Cache>(kv, table[position / kv.block_size], position % kv.block_size,
                       k + row * k_stride, v + row * v_stride);
  }
}

inline void append(const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
                   int32_t count, const float* k, int64_t k_stride, const float* v,
                   int64_t v_stride) {
  const auto write =
      kv.type == KVType::F32 ? append_tokens<FloatCache> : append_tokens<HalfCache>;
  write(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
}

}  // namespace
}  // namespace legato
