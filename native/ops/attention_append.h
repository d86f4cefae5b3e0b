// Writing keys and values into the blocks, once over vector.h (see attention_layout.h).
#pragma once

#include "attention_products.h"

namespace legato {
namespace {

// How sixteen values become elements of the cache. `levels`: what an integer is worth, inverted.
struct WriteF32 {
  using Element = float;
  static constexpr KVType kType = KVType::F32;
  static void convert(float* p, Floats x, float) { store(p, x); }
};
struct WriteF16 {
  using Element = uint16_t;
  static constexpr KVType kType = KVType::F16;
  static void convert(uint16_t* p, Floats x, float) { store_half(p, x); }
};
struct WriteBf16 {
  using Element = uint16_t;
  static constexpr KVType kType = KVType::BF16;
  static void convert(uint16_t* p, Floats x, float) {
    const Ints whole = bits(x);
    const Ints even = shift_right<16>(whole) & splat(1);
    const Ints rounded = shift_right<16>(whole + splat(0x7fff) + even);
    const Ints value = select(is_nan(x), splat(0x7fc0), rounded);
    int32_t lanes[kLanes];
    store(lanes, value);
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<uint16_t>(lanes[i]);
  }
};
struct WriteInt8 {
  using Element = int8_t;
  static constexpr KVType kType = KVType::Int8;
  static void convert(int8_t* p, Floats x, float levels) {
    int32_t lanes[kLanes];
    store(lanes, to_whole(x * splat(levels), kInt8Levels));
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(lanes[i]);
  }
};

// Element d of a vector goes to target[d / kGroup * step + d % kGroup], d < count.
template <typename W>
void write_vector(typename W::Element* target, const float* source, int32_t head_dim,
                  int32_t count, int32_t step, float levels) {
  constexpr int32_t kGroup = in_pairs(W::kType) ? 2 : 1;
  typename W::Element converted[kLanes];
  for (int32_t d = 0; d < count; d += kLanes) {
    W::convert(converted, dimensions(source, d, head_dim), levels);
    const int32_t here = smaller(kLanes, count - d);
    for (int32_t i = 0; i < here; i += kGroup) {
      for (int32_t j = 0; j < kGroup; ++j) target[(d + i) / kGroup * step + j] = converted[i + j];
    }
  }
}

// A value's pairs belong to two tokens: its elements lie two apart.
template <typename W>
void write_value(typename W::Element* target, const float* source, int32_t head_dim,
                 float levels) {
  constexpr int32_t kStep = in_pairs(W::kType) ? 2 : 1;
  typename W::Element converted[kLanes];
  for (int32_t d = 0; d < head_dim; d += kLanes) {
    W::convert(converted, dimensions(source, d, head_dim), levels);
    for (int32_t i = 0; i < kLanes; ++i) target[(d + i) * kStep] = converted[i];
  }
}

// Sets a vector's scale and returns 127 / max |x|.
inline float write_scale(float* scale, const float* source, int32_t head_dim) {
  const float most = largest_size(source, head_dim);
  *scale = most / kInt8Levels;
  return most > 0 ? kInt8Levels / most : 0.0f;
}

template <typename W>
void write_token(const KVView& kv, int32_t block, int32_t inside, const float* k, const float* v) {
  constexpr int32_t kGroup = in_pairs(W::kType) ? 2 : 1;
  const int32_t dim = key_dim(kv.head_dim, W::kType);
  const int64_t tile = inside / kTile * kTile * static_cast<int64_t>(dim);
  const int64_t key = tile + inside % kTile * kGroup;
  const int64_t value = kv.block_size * static_cast<int64_t>(dim) +
                        inside / kGroup * kGroup * padded_dim(kv.head_dim) + inside % kGroup;
  for (int32_t head = 0; head < kv.kv_heads; ++head) {
    auto* start = block_start<typename W::Element>(kv, block, head);
    const float* key_source = k + head * kv.head_dim;
    const float* value_source = v + head * kv.head_dim;
    float key_levels = 1.0f, value_levels = 1.0f;
    if constexpr (W::kType == KVType::Int8) {
      float* scales = block_scales(kv, start) + inside;
      key_levels = write_scale(scales, key_source, kv.head_dim);
      value_levels = write_scale(scales + kv.block_size, value_source, kv.head_dim);
    }
    write_vector<W>(start + key, key_source, kv.head_dim, dim, kGroup * kTile, key_levels);
    write_value<W>(start + value, value_source, kv.head_dim, value_levels);
  }
}

template <typename W>
void append_tokens(const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
                   int32_t count, const float* k, int64_t k_stride, const float* v,
                   int64_t v_stride) {
  const int32_t start = batch.query_starts[sequence];
  const int32_t rows = batch.query_starts[sequence + 1] - start;
  const int32_t* table = batch.block_tables + static_cast<int64_t>(sequence) * batch.table_stride;
  for (int32_t i = first; i < first + count; ++i) {
    const int32_t position = batch.kv_lengths[sequence] - rows + i;
    const int64_t row = start + i;
    write_token<W>(kv, table[position / kv.block_size], position % kv.block_size,
                   k + row * k_stride, v + row * v_stride);
  }
}

inline void append(const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
                   int32_t count, const float* k, int64_t k_stride, const float* v,
                   int64_t v_stride) {
  switch (kv.type) {
    case KVType::F32:
      return append_tokens<WriteF32>(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
    case KVType::F16:
      return append_tokens<WriteF16>(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
    case KVType::BF16:
      return append_tokens<WriteBf16>(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
    case KVType::Int8:
      return append_tokens<WriteInt8>(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
  }
}

}  // namespace
}  // namespace legato
