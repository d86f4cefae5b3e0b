// The kernels behind attention.h, written once over vector.h; one instance an instruction set.
//
// For a row and head, with s = scale * (q . k) and tokens in order of position:
//   within a split: m = max s, p = 2^(s - m) (s in units of log2 e), l = sum p, o = sum p v
//   over splits:    (m, l, o) are folded one after the other (Milakov & Gimelshein 2018)
// A dot product adds dimensions in order; l adds the tokens of equal position modulo 16 in order,
// then the 16 sums; o adds tokens in order. Tokens that a row does not see add exact zeros. So the
// row's bits do not depend on the rows, heads or splits computed beside it.
#pragma once

#include "attention_work.h"
#include "vector_math.h"

namespace legato {
namespace {

// What will be read next, for kC tiles; a decode step reads everything once, from far away.
template <typename Cache>
struct Ahead {
  const typename Cache::Element* const* keys;
  const typename Cache::Element* const* values;
};

// scores[r][column of tile j] = q[r] . k, for kR queries and kC tiles of 16 tokens.
template <typename Cache, int kR, int kC, bool kFetch>
void score_block(const float* q, int32_t head_dim, const typename Cache::Element* const* keys,
                 const Ahead<Cache>& ahead, float* scores) {
  Floats sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = splat(0.0f);
  }
  for (int32_t d = 0; d < head_dim; ++d) {
    Floats k[kC];
    for (int c = 0; c < kC; ++c) {
      k[c] = Cache::read(keys[c] + d * kTile);
      if constexpr (kFetch) {
        __builtin_prefetch(ahead.keys[c] + d * kTile);
        __builtin_prefetch(ahead.values[c] + d * kTile);
      }
    }
    for (int r = 0; r < kR; ++r) {
      const Floats x = splat(q[d * kR + r]);
      for (int c = 0; c < kC; ++c) sums[r][c] = fma(x, k[c], sums[r][c]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) store(scores + r * kSplit + c * kTile, sums[r][c]);
  }
}

template <typename Cache, int kR, bool kFetch>
void score_rows(const float* q, const Span<Cache>& span, int32_t head_dim, float* scores) {
  int32_t i = 0;
  for (; i + kColumns <= span.tiles; i += kColumns) {
    const int32_t next = i + 2 * kColumns <= span.tiles ? i + kColumns : i;
    const Ahead<Cache> ahead = {span.keys + next, span.values + i};
    score_block<Cache, kR, kColumns, kFetch>(q, head_dim, span.keys + i, ahead, scores + i * kTile);
  }
  for (; i < span.tiles; ++i) {
    const Ahead<Cache> ahead = {span.keys + i, span.values + i};
    score_block<Cache, kR, 1, kFetch>(q, head_dim, span.keys + i, ahead, scores + i * kTile);
  }
}

// One split's o for kR queries and kC vectors of dimensions, folded into out.
template <typename Cache, int kR, int kC>
void value_block(const Span<Cache>& span, int32_t offset, Work& work, int32_t row) {
  const int32_t stride = work.vectors * kLanes;
  const float* p = work.scores + row * kSplit;
  Floats sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = splat(0.0f);
  }
  for (int32_t tile = 0; tile < span.tiles; ++tile) {
    const auto* value = span.values[tile] + offset;
    const int32_t end = smaller(span.tokens, (tile + 1) * kTile);
    for (int32_t t = tile * kTile; t < end; ++t, value += stride) {
      Floats v[kC];
      for (int c = 0; c < kC; ++c) v[c] = Cache::read(value + c * kLanes);
      for (int r = 0; r < kR; ++r) {
        const Floats x = splat(p[r * kSplit + t]);
        for (int c = 0; c < kC; ++c) sums[r][c] = fma(x, v[c], sums[r][c]);
      }
    }
  }
  for (int r = 0; r < kR; ++r) {
    if (work.last[row + r] <= work.first[row + r]) continue;
    float* out = work.out + (row + r) * stride + offset;
    const Floats keep = splat(work.keep[row + r]);
    const Floats take = splat(work.take[row + r]);
    for (int c = 0; c < kC; ++c) {
      store(out + c * kLanes, fma(sums[r][c], take, load(out + c * kLanes) * keep));
    }
  }
}

template <typename Cache, int kR>
void value_rows(const Span<Cache>& span, Work& work, int32_t row) {
  int32_t i = 0;
  for (; i + kColumns <= work.vectors; i += kColumns) {
    value_block<Cache, kR, kColumns>(span, i * kLanes, work, row);
  }
  for (; i < work.vectors; ++i) value_block<Cache, kR, 1>(span, i * kLanes, work, row);
}

// Call action.operator()<R>(first query) for blocks of kRows queries and the rest.
template <typename Action>
void for_row_blocks(int32_t queries, const Action& action) {
  int32_t row = 0;
  for (; row + kRows <= queries; row += kRows) action.template operator()<kRows>(row);
  const int32_t rest = queries - row;
  if (rest == 1) action.template operator()<1>(row);
  if (rest == 2) action.template operator()<2>(row);
  if constexpr (kRows > 3) {
    if (rest == 3) action.template operator()<3>(row);
    if (rest == 4) action.template operator()<4>(row);
    if (rest == 5) action.template operator()<5>(row);
  }
}

inline Floats visible_or(Floats s, int32_t tile, int32_t first, int32_t last, float otherwise) {
  const int32_t start = tile * kTile;
  if (first <= start && start + kTile <= last) return s;
  const Mask visible = lane_range(larger(first - start, 0), smaller(last - start, kTile));
  return select(visible, s, splat(otherwise));
}

// Soft-capped scores in units of log2 e; queries were scaled accordingly.
inline void cap_scores(float* scores, int32_t first_tile, int32_t last_tile, float soft_cap) {
  const Floats cap = splat(soft_cap * kLog2E);
  for (int32_t i = first_tile; i < last_tile; ++i) {
    store(scores + i * kTile, tanh_lanes(load(scores + i * kTile)) * cap);
  }
}

inline float max_score(const float* scores, int32_t first, int32_t last) {
  Floats most = splat(kNothing);
  for (int32_t i = first / kTile; i * kTile < last; ++i) {
    most = maximum(most, visible_or(load(scores + i * kTile), i, first, last, kNothing));
  }
  return max_lanes(most);
}

// Scores become weights 2^(s - max), zero where not visible; returns their sum.
inline float weigh(float* scores, int32_t tiles, int32_t first, int32_t last, float max) {
  const Floats zero = splat(0.0f);
  Floats sum = zero;
  for (int32_t i = 0; i < tiles; ++i) {
    Floats p = zero;
    if (i * kTile < last && first < (i + 1) * kTile) {
      p = exp2_lanes(load(scores + i * kTile) - splat(max));
      p = visible_or(p, i, first, last, 0.0f);
      sum = sum + p;
    }
    store(scores + i * kTile, p);
  }
  return sum_lanes(sum);
}

// Fold a split's m and l into those of query i, and leave the factors for o.
inline void fold(Work& work, int32_t i, float max, float sum) {
  const float most = work.max[i] > max ? work.max[i] : max;
  const float differences[kLanes] = {work.max[i] - most, max - most};
  float factors[kLanes];
  store(factors, exp2_lanes(load(differences)));
  work.keep[i] = factors[0];
  work.take[i] = factors[1];
  work.sum[i] = work.sum[i] * factors[0] + sum * factors[1];
  work.max[i] = most;
}

inline void softmax(Work& work, int32_t i, int32_t tiles, float soft_cap) {
  float* scores = work.scores + i * kSplit;
  const int32_t first = work.first[i];
  const int32_t last = work.last[i];
  if (last <= first) {
    weigh(scores, tiles, 0, 0, 0.0f);
    return;
  }
  if (soft_cap > 0) cap_scores(scores, first / kTile, (last + kTile - 1) / kTile, soft_cap);
  const float max = max_score(scores, first, last);
  fold(work, i, max, weigh(scores, tiles, first, last, max));
}

template <typename Cache>
void add_split(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head, int32_t split,
               Work& work) {
  const Span<Cache> span = make_span<Cache>(call, tile, kv_head, split);
  set_visible(call, tile, span, work);
  const bool once = work.queries <= kRows;
  for_row_blocks(work.queries, [&]<int kR>(int32_t row) {
    const auto score = once ? score_rows<Cache, kR, true> : score_rows<Cache, kR, false>;
    score(work.q + row * work.head_dim, span, work.head_dim, work.scores + row * kSplit);
  });
  for (int32_t i = 0; i < work.queries; ++i) softmax(work, i, span.tiles, call.soft_cap);
  for_row_blocks(work.queries,
                 [&]<int kR>(int32_t row) { value_rows<Cache, kR>(span, work, row); });
}

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
  work.head_dim = call.kv.head_dim;
  work.vectors = static_cast<int32_t>(padded_dim(call.kv.head_dim) / kLanes);
}

// Query i of the unit, whose first head is `head`: its place in a [rows, heads * head_dim] array.
inline int64_t query_offset(const AttentionCall& call, const AttentionTile& tile, const Work& work,
                            int32_t head, int32_t i, int64_t stride) {
  const int64_t row = tile.first_row + i / work.heads;
  return row * stride + static_cast<int64_t>(head + i % work.heads) * call.kv.head_dim;
}

inline void pack_queries(const AttentionCall& call, const AttentionTile& tile, int32_t head,
                         Work& work) {
  const float scale = call.soft_cap > 0 ? call.scale / call.soft_cap : call.scale * kLog2E;
  for (int32_t i = 0; i < work.queries; ++i) {
    const int32_t block = i / kRows * kRows;
    const int32_t width = smaller(kRows, work.queries - block);
    const float* source = call.q + query_offset(call, tile, work, head, i, call.q_stride);
    float* target = work.q + block * work.head_dim + i % kRows;
    for (int32_t d = 0; d < work.head_dim; ++d) target[d * width] = source[d] * scale;
  }
}

inline void write_result(const AttentionCall& call, const AttentionTile& tile, int32_t head,
                         Work& work) {
  for (int32_t i = 0; i < work.queries; ++i) {
    const float* source = work.out + i * work.vectors * kLanes;
    float* target = call.out + query_offset(call, tile, work, head, i, call.out_stride);
    for (int32_t d = 0; d < work.head_dim; ++d) target[d] = source[d] / work.sum[i];
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
    fold(work, i, partial[0], partial[1]);
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

template <typename Cache>
void run_unit(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head, int32_t split,
              uint8_t* scratch) {
  Work work;
  const int32_t group = call.heads / call.kv.kv_heads;
  for_head_groups(call, [&](int32_t head, int32_t heads) {
    set_shape(call, tile, heads, work);
    pack_queries(call, tile, kv_head * group + head, work);
    clear(work);
    if (split >= 0) {
      add_split<Cache>(call, tile, kv_head, tile.first_split + split, work);
      write_partials(work, partials(call, tile, kv_head, split, head, scratch));
      return;
    }
    for (int32_t i = 0; i < tile.splits; ++i) {
      add_split<Cache>(call, tile, kv_head, tile.first_split + i, work);
    }
    write_result(call, tile, kv_head * group + head, work);
  });
}

inline void unit(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head,
                 int32_t split, uint8_t* scratch) {
  if (call.kv.type == KVType::F32) {
    run_unit<FloatCache>(call, tile, kv_head, split, scratch);
  } else {
    run_unit<HalfCache>(call, tile, kv_head, split, scratch);
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
