// One unit of attention: its queries in, its splits, its result or partial results out.
#pragma once

#include "attention_kernel.h"
#include "attention_kernels.h"

namespace legato {
namespace {

inline void clear(Work& work) {
  for (int32_t i = 0; i < work.queries; ++i) {
    work.max[i] = kNothing;
    work.sum[i] = 0.0f;
  }
  for (int32_t i = 0; i < work.queries * work.vectors; ++i) {
    store(work.out + i * kLanes, splat(0.0f));
  }
}

inline void set_shape(const AttentionCall& call, const AttentionTile& tile, int32_t heads,
                      Work& work) {
  work.queries = tile.rows * heads;
  work.heads = heads;
  work.key_dim = key_dim(call.kv.head_dim, call.kv.type);
  work.vectors = static_cast<int32_t>(padded_dim(call.kv.head_dim) / kLanes);
}

// Query i of the unit, whose first head is `head`: its place in a [rows, heads * head_dim] array.
inline int64_t query_offset(const AttentionCall& call, const AttentionTile& tile, const Work& work,
                            int32_t head, int32_t i, int64_t stride) {
  const int64_t row = tile.first_row + i / work.heads;
  return row * stride + static_cast<int64_t>(head + i % work.heads) * call.kv.head_dim;
}

template <typename P>
void pack_queries(const AttentionCall& call, const AttentionTile& tile, int32_t head,
                  Work& work, typename P::Element* packed) {
  const float scale = call.soft_cap > 0 ? call.scale / call.soft_cap : call.scale * kLog2E;
  for (int32_t i = 0; i < work.queries; ++i) {
    const int32_t block = i / kRows * kRows;
    const int32_t width = smaller(kRows, work.queries - block);
    const float* source = call.q + query_offset(call, tile, work, head, i, call.q_stride);
    float factor = scale;
    if constexpr (P::kWhole) {
      work.query_unit[i] = largest_size(source, call.kv.head_dim) * scale / kWordLevels;
      factor = work.query_unit[i] > 0 ? scale / work.query_unit[i] : 0.0f;
    }
    for (int32_t d = 0; d < work.key_dim; d += kLanes) {
      P::put_query(packed + block * work.key_dim, d, smaller(kLanes, work.key_dim - d), i - block,
                   width, dimensions(source, d, call.kv.head_dim) * splat(factor));
    }
  }
}

inline void write_result(const AttentionCall& call, const AttentionTile& tile, int32_t head,
                         Work& work) {
  for (int32_t i = 0; i < work.queries; ++i) {
    const float* source = work.out + i * work.vectors * kLanes;
    float* target = call.out + query_offset(call, tile, work, head, i, call.out_stride);
    const float factor = 1.0f / work.sum[i];
    for (int32_t d = 0; d < call.kv.head_dim; ++d) target[d] = source[d] * factor;
  }
}

// The partial results of one split of a tile, from the unit's first query on.
inline float* partials(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head,
                       int32_t split, int32_t first_query, uint8_t* scratch) {
  const int64_t group = call.heads / call.kv.kv_heads;
  const int64_t index = static_cast<int64_t>(split) * call.kv.kv_heads + kv_head;
  const int64_t query = index * tile.rows * group + first_query;
  return reinterpret_cast<float*>(scratch + tile.partials) +
         query * partial_floats(call.kv.head_dim);
}

inline void write_partials(const Work& work, float* partial) {
  const int32_t dims = work.vectors * kLanes;
  for (int32_t i = 0; i < work.queries; ++i) {
    partial[0] = work.max[i];
    partial[1] = work.sum[i];
    std::memcpy(partial + kLanes, work.out + i * dims, sizeof(float) * static_cast<size_t>(dims));
    partial += kLanes + dims;
  }
}

inline void fold_partials(Work& work, const float* partial) {
  const int32_t dims = work.vectors * kLanes;
  for (int32_t i = 0; i < work.queries; ++i, partial += kLanes + dims) {
    if (partial[1] == 0.0f) continue;  // a split that this row does not see
    raise_max<1>(work, i, partial);
    add_weighed(work, i, {partial[1], 1.0f});
    const Floats keep = splat(work.keep[i]);
    const Floats take = splat(work.take[i]);
    float* out = work.out + i * dims;
    for (int32_t d = 0; d < dims; d += kLanes) {
      store(out + d, fma(load(partial + kLanes + d), take, load(out + d) * keep));
    }
  }
}

// Call action(first head of the group, heads) for the query heads of one KV head.
template <typename Action>
void for_head_groups(const AttentionCall& call, const Action& action) {
  const int32_t group = call.heads / call.kv.kv_heads;
  for (int32_t head = 0; head < group; head += kTileQueries) {
    action(head, smaller(group - head, kTileQueries));
  }
}

// The span of the unit's i-th split; empty where there is none.
template <typename Element>
Span<Element> span_of(const AttentionCall& call, const AttentionUnit& unit, int32_t i) {
  if (unit.tile == nullptr) return {};
  const int32_t split = unit.split >= 0 ? unit.split : i;
  return make_span<Element>(call, *unit.tile, unit.kv_head, unit.tile->first_split + split);
}

template <typename P>
void add_splits(const AttentionCall& call, const AttentionUnit& unit, const AttentionUnit& next,
                Factors<typename P::Element>& factors, Work& work) {
  using Source = typename P::Source;
  const int32_t splits = unit.split >= 0 ? 1 : unit.tile->splits;
  Span<Source> span = span_of<Source>(call, unit, 0);
  for (int32_t i = 0; i < splits; ++i) {
    const Span<Source> after =
        i + 1 < splits ? span_of<Source>(call, unit, i + 1) : span_of<Source>(call, next, 0);
    add_split<P>(call, *unit.tile, span, after, factors, work);
    span = after;
  }
}

template <typename P>
void run_unit(const AttentionCall& call, const AttentionUnit& unit, const AttentionUnit& next,
              uint8_t* scratch) {
  Work work;
  Factors<typename P::Element> factors;
  const AttentionTile& tile = *unit.tile;
  const int32_t group = call.heads / call.kv.kv_heads;
  for_head_groups(call, [&](int32_t head, int32_t heads) {
    set_shape(call, tile, heads, work);
    pack_queries<P>(call, tile, unit.kv_head * group + head, work, factors.q);
    clear(work);
    add_splits<P>(call, unit, next, factors, work);
    if (unit.split >= 0) {
      write_partials(work, partials(call, tile, unit.kv_head, unit.split, head, scratch));
    } else {
      write_result(call, tile, unit.kv_head * group + head, work);
    }
  });
}

// `Bf16`: the products of a bf16 cache.
template <typename Bf16>
void unit(const AttentionCall& call, const AttentionUnit& unit, const AttentionUnit& next,
          uint8_t* scratch) {
  switch (call.kv.type) {
    case KVType::F32: return run_unit<FloatProducts<KVType::F32>>(call, unit, next, scratch);
    case KVType::F16: return run_unit<FloatProducts<KVType::F16>>(call, unit, next, scratch);
    case KVType::BF16: return run_unit<Bf16>(call, unit, next, scratch);
    case KVType::Int8: return run_unit<WholeProducts>(call, unit, next, scratch);
  }
}

inline void merge(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head,
                  uint8_t* scratch) {
  Work work;
  const int32_t group = call.heads / call.kv.kv_heads;
  for_head_groups(call, [&](int32_t head, int32_t heads) {
    set_shape(call, tile, heads, work);
    clear(work);
    for (int32_t i = 0; i < tile.splits; ++i) {
      fold_partials(work, partials(call, tile, kv_head, i, head, scratch));
    }
    write_result(call, tile, kv_head * group + head, work);
  });
}

}  // namespace
}  // namespace legato
