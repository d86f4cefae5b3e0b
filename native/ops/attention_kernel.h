// The kernels behind attention.h, written once over vector.h and a trait of products (see
// attention_products.h); one instance an instruction set.
//
// For a row and head, with s = scale * (q . k) and tokens in order of position:
//   within a split: m = max s, p = 2^(s - m) (s in units of log2 e), l = sum p, o = sum p v
//   over splits:    (m, l, o) are folded one after the other (Milakov & Gimelshein 2018)
// A dot product adds dimensions in order; l adds the tokens of equal position modulo 16 in order,
// then the 16 sums; o adds tokens in order. Tokens that a row does not see add exact zeros. So the
// row's bits do not depend on the rows, heads or splits computed beside it. With bf16 products
// "in order" means pair by pair, which changes nothing in this argument.
#pragma once

#include "attention_products.h"

namespace legato {
namespace {

// What one unit multiplies: all of its queries, and one register block's scores and weights.
template <typename Element>
struct Factors {
  alignas(64) Element q[kTileQueries * kMaxHeadDim];  // blocks of kRows queries: [dim][query],
                                                      // or pairs of dimensions for each query
  alignas(64) float scores[kRows * kSplit];
  alignas(64) Element weights[kRows * kSplit];
};

// What will be read next, for kC tiles; a decode step reads everything once, from far away.
template <typename Source>
struct Ahead {
  const Source* const* keys;
  const Source* const* values;
};

// scores[r][column of tile j] = q[r] . k, for kR queries and kC tiles of 16 tokens.
template <typename P, int kR, int kC, bool kFetch>
void score_block(const typename P::Element* q, int32_t head_dim,
                 const typename P::Source* const* keys, const Ahead<typename P::Source>& ahead,
                 float* scores) {
  Floats sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = splat(0.0f);
  }
  for (int32_t d = 0; d < head_dim; d += P::kGroup) {
    typename P::Operand k[kC];
    for (int c = 0; c < kC; ++c) {
      k[c] = P::key(keys[c], d);
      if constexpr (kFetch) {
        __builtin_prefetch(ahead.keys[c] + d * kTile);
        __builtin_prefetch(ahead.values[c] + d * kTile);
      }
    }
    for (int r = 0; r < kR; ++r) {
      const auto x = P::repeat(q + d * kR + r * P::kGroup);
      for (int c = 0; c < kC; ++c) sums[r][c] = P::add(x, k[c], sums[r][c]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) store(scores + r * kSplit + c * kTile, sums[r][c]);
  }
}

template <typename P, int kR, bool kFetch>
void score_rows(const typename P::Element* q, const Span<typename P::Source>& span, Range range,
                int32_t head_dim, float* scores) {
  int32_t i = range.begin;
  for (; i + kColumns <= range.end; i += kColumns) {
    const int32_t next = i + 2 * kColumns <= range.end ? i + kColumns : i;
    score_block<P, kR, kColumns, kFetch>(q, head_dim, span.keys + i,
                                         {span.keys + next, span.values + i}, scores + i * kTile);
  }
  for (; i < range.end; ++i) {
    score_block<P, kR, 1, kFetch>(q, head_dim, span.keys + i, {span.keys + i, span.values + i},
                                  scores + i * kTile);
  }
}

// sums += weights[r][tokens of a tile] . v, for kR queries and kC vectors of dimensions.
template <typename P, int kR, int kC>
inline void add_values(const typename P::Element* weights, const typename P::Source* value,
                       int32_t stride, int32_t tokens, Floats (&sums)[kR][kC]) {
  int32_t t = 0;
  for (; t + P::kGroup <= tokens; t += P::kGroup, value += P::kGroup * stride) {
    typename P::Operand v[kC];
    for (int c = 0; c < kC; ++c) v[c] = P::value(value + c * P::kVector, stride);
    for (int r = 0; r < kR; ++r) {
      const auto x = P::repeat(weights + r * kSplit + t);
      for (int c = 0; c < kC; ++c) sums[r][c] = P::add(x, v[c], sums[r][c]);
    }
  }
  if (t == tokens) return;
  for (int c = 0; c < kC; ++c) {
    const auto v = P::last_value(value + c * P::kVector);
    for (int r = 0; r < kR; ++r) {
      sums[r][c] = P::add(P::repeat(weights + r * kSplit + t), v, sums[r][c]);
    }
  }
}

// One split's o for kR queries and kC vectors of dimensions, folded into out.
template <typename P, int kR, int kC>
void value_block(const typename P::Element* weights, const Span<typename P::Source>& span,
                 Range range, int32_t vector, Work& work, int32_t row) {
  const int32_t stride = work.vectors * kLanes;
  Floats sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = splat(0.0f);
  }
  for (int32_t tile = range.begin; tile < range.end; ++tile) {
    const int32_t tokens = smaller(span.tokens - tile * kTile, kTile);
    add_values<P, kR, kC>(weights + tile * kTile, span.values[tile] + vector * P::kVector, stride,
                          tokens, sums);
  }
  for (int r = 0; r < kR; ++r) {
    if (work.last[row + r] <= work.first[row + r]) continue;
    float* out = work.out + (row + r) * stride + vector * kLanes;
    const Floats keep = splat(work.keep[row + r]);
    const Floats take = splat(work.take[row + r]);
    for (int c = 0; c < kC; ++c) {
      store(out + c * kLanes, fma(sums[r][c], take, load(out + c * kLanes) * keep));
    }
  }
}

template <typename P, int kR>
void value_rows(const typename P::Element* weights, const Span<typename P::Source>& span,
                Range range, Work& work, int32_t row) {
  int32_t i = 0;
  for (; i + kColumns <= work.vectors; i += kColumns) {
    value_block<P, kR, kColumns>(weights, span, range, i, work, row);
  }
  for (; i < work.vectors; ++i) value_block<P, kR, 1>(weights, span, range, i, work, row);
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

// Weights 2^(s - max), zero where not visible; returns their sum.
template <typename P>
float weigh(const float* scores, Range range, int32_t first, int32_t last, float max,
            typename P::Element* weights) {
  const Floats zero = splat(0.0f);
  Floats sum = zero;
  for (int32_t i = range.begin; i < range.end; ++i) {
    Floats p = zero;
    if (i * kTile < last && first < (i + 1) * kTile) {
      p = visible_or(P::exp2(load(scores + i * kTile) - splat(max)), i, first, last, 0.0f);
    }
    sum = sum + P::put_weights(weights + i * kTile, p);
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

template <typename P>
void softmax(float* scores, Range range, float soft_cap, Work& work, int32_t i,
             typename P::Element* weights) {
  const int32_t first = work.first[i];
  const int32_t last = work.last[i];
  if (last <= first) {
    weigh<P>(scores, range, 0, 0, 0.0f, weights);
    return;
  }
  if (soft_cap > 0) cap_scores(scores, first / kTile, (last + kTile - 1) / kTile, soft_cap);
  const float max = max_score(scores, first, last);
  fold(work, i, max, weigh<P>(scores, range, first, last, max, weights));
}

// One split's part in the results of all queries.
template <typename P, bool kFetch>
void attend(const Span<typename P::Source>& span, float soft_cap,
            Factors<typename P::Element>& factors, Work& work) {
  for_row_blocks(work.queries, [&]<int kR>(int32_t row) {
    const Range range = visible_tiles(work, row, kR);
    if (range.end <= range.begin) return;
    score_rows<P, kR, kFetch>(factors.q + row * work.head_dim, span, range, work.head_dim,
                              factors.scores);
    for (int32_t r = 0; r < kR; ++r) {
      softmax<P>(factors.scores + r * kSplit, range, soft_cap, work, row + r,
                 factors.weights + r * kSplit);
    }
    value_rows<P, kR>(factors.weights, span, range, work, row);
  });
}

// Convert a split's keys and values once, for many queries.
template <typename P>
Span<typename P::Element> stage(const Span<typename P::Source>& span, const Work& work,
                                typename P::Element* memory) {
  const int32_t stride = work.vectors * kLanes;
  Span<typename P::Element> staged;
  staged.begin = span.begin;
  staged.tokens = span.tokens;
  staged.tiles = span.tiles;
  for (int32_t i = 0; i < span.tiles; ++i) {
    staged.keys[i] = memory;
    for (int32_t d = 0; d < work.head_dim; d += P::kGroup, memory += P::kGroup * kTile) {
      P::put(memory, P::key(span.keys[i], d));
    }
    staged.values[i] = memory;
    const int32_t tokens = smaller(span.tokens - i * kTile, kTile);
    const auto* value = span.values[i];
    for (int32_t t = 0; t < tokens; t += P::kGroup, value += P::kGroup * stride) {
      for (int32_t c = 0; c < work.vectors; ++c, memory += P::kGroup * kLanes) {
        const auto* source = value + c * kLanes;
        P::put(memory, t + P::kGroup <= tokens ? P::value(source, stride) : P::last_value(source));
      }
    }
  }
  return staged;
}

template <typename P>
void attend_staged(const Span<typename P::Source>& span, float soft_cap,
                   Factors<typename P::Element>& factors, Work& work) {
  alignas(64) typename P::Element memory[2 * kSplit * kStagedDim];
  attend<typename P::Staged, false>(stage<P>(span, work, memory), soft_cap, factors, work);
}

template <typename P>
void add_split(const AttentionCall& call, const AttentionTile& tile, int32_t kv_head, int32_t split,
               Factors<typename P::Element>& factors, Work& work) {
  const auto span = make_span<typename P::Source>(call, tile, kv_head, split);
  set_visible(call, tile, span, work);
  if (work.queries <= kRows) {
    attend<P, true>(span, call.soft_cap, factors, work);
  } else if (work.queries <= 2 * kRows || work.head_dim > kStagedDim) {
    attend<P, false>(span, call.soft_cap, factors, work);
  } else {
    attend_staged<P>(span, call.soft_cap, factors, work);
  }
}

}  // namespace
}  // namespace legato
