// The kernels behind attention.h, written once over vector.h and a trait of products (see
// attention_products.h); one instance an instruction set.
//
// For a row and head, with s = scale * (q . k) and tokens in order of position:
//   within a split: m = max s, p = 2^(s - m) (s in units of log2 e), l = sum p, o = sum p v
//   over splits:    (m, l, o) are folded one after the other (Milakov & Gimelshein 2018)
// A dot product adds dimensions in order; l adds the tokens of equal position modulo 16 in order,
// then the 16 sums; o adds tokens in order. Tokens that a row does not see add exact zeros. So the
// row's bits do not depend on the rows, heads or splits computed beside it. With products of pairs
// "in order" means pair by pair, which changes nothing in this argument.
#pragma once

#include "attention_softmax.h"

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

// A decode step reads everything once, from far away. While the scores of a split are computed its
// values are fetched; while its values are added, the keys that will be read next.
template <typename Element>
inline void fetch(const Element* p) {
  __builtin_prefetch(p, 0, 2);
}

// scores[r][column of tile j] = q[r] . k, for kR queries and kC tiles of 16 tokens.
template <typename P, int kR, int kC, bool kFetch>
void score_block(const typename P::Element* q, const Span<typename P::Source>& span, int32_t tile,
                 const Work& work, int32_t row, float* scores) {
  constexpr int kLine = 64 / (kTile * sizeof(typename P::Source));  // dimensions in a cache line
  const auto* const* keys = span.keys + tile;
  typename P::Sum sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = P::zero();
  }
  for (int32_t d = 0; d < work.key_dim; d += P::kGroup) {
    typename P::Operand k[kC];
    for (int c = 0; c < kC; ++c) {
      k[c] = P::key(keys[c], d);
      if (kFetch && d % kLine == 0) fetch(span.values[tile + c] + d * kTile);
    }
    for (int r = 0; r < kR; ++r) {
      const auto x = P::repeat(q + d * kR + r * P::kGroup);
      for (int c = 0; c < kC; ++c) sums[r][c] = P::add(x, k[c], sums[r][c]);
    }
  }
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) {
      Floats result = P::floats(sums[r][c]);
      if constexpr (P::kWhole) {
        result = result * splat(work.query_unit[row + r]) * load(span.key_scales[tile + c]);
      }
      store(scores + r * kSplit + (tile + c) * kTile, result);
    }
  }
}

template <typename P, int kR, bool kFetch>
void score_rows(const typename P::Element* q, const Span<typename P::Source>& span, Range range,
                const Work& work, int32_t row, float* scores) {
  int32_t i = range.begin;
  for (; i + P::kColumns <= range.end; i += P::kColumns) {
    score_block<P, kR, P::kColumns, kFetch>(q, span, i, work, row, scores);
  }
  for (; i < range.end; ++i) score_block<P, kR, 1, kFetch>(q, span, i, work, row, scores);
}

// sums += weights[r][tokens of a tile] . v, for kR queries and kC vectors of dimensions.
// `ahead`: as much of the keys that will be read next, or null.
template <typename P, int kR, int kC>
inline void add_values(const typename P::Element* weights, const typename P::Source* value,
                       int32_t stride, int32_t tokens, const typename P::Source* ahead,
                       typename P::Sum (&sums)[kR][kC]) {
  constexpr int kLine = 64 / sizeof(typename P::Source);
  int32_t t = 0;
  for (; t + P::kGroup <= tokens; t += P::kGroup, value += P::kGroup * stride) {
    typename P::Operand v[kC];
    if (ahead) {
      for (int e = 0; e < kC * P::kGroup * kLanes; e += kLine) fetch(ahead + t * kC * kLanes + e);
    }
    for (int c = 0; c < kC; ++c) v[c] = P::value(value + c * P::kVector);
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
template <typename P, int kR, int kC, bool kFetch>
void value_block(const typename P::Element* weights, const Span<typename P::Source>& span,
                 const Span<typename P::Source>& next, Range range, int32_t vector, Work& work,
                 int32_t row) {
  const int32_t stride = work.vectors * kLanes;
  typename P::Sum sums[kR][kC];
  for (int r = 0; r < kR; ++r) {
    for (int c = 0; c < kC; ++c) sums[r][c] = P::zero();
  }
  for (int32_t tile = range.begin; tile < range.end; ++tile) {
    const int32_t tokens = smaller(span.tokens - tile * kTile, kTile);
    const typename P::Source* ahead = nullptr;
    if (kFetch && tile < next.tiles) ahead = next.keys[tile] + vector * kLanes * kTile;
    add_values<P, kR, kC>(weights + tile * kTile, span.values[tile] + vector * P::kVector, stride,
                          tokens, ahead, sums);
  }
  for (int r = 0; r < kR; ++r) {
    if (work.last[row + r] <= work.first[row + r]) continue;
    float* out = work.out + (row + r) * stride + vector * kLanes;
    const Floats keep = splat(work.keep[row + r]);
    const Floats take = splat(work.take[row + r]);
    for (int c = 0; c < kC; ++c) {
      Floats sum = P::floats(sums[r][c]);
      if constexpr (P::kWhole) sum = sum * splat(work.weight_unit[row + r]);
      store(out + c * kLanes, fma(sum, take, load(out + c * kLanes) * keep));
    }
  }
}

template <typename P, int kR, bool kFetch>
void value_rows(const typename P::Element* weights, const Span<typename P::Source>& span,
                const Span<typename P::Source>& next, Range range, Work& work, int32_t row) {
  int32_t i = 0;
  for (; i + P::kColumns <= work.vectors; i += P::kColumns) {
    value_block<P, kR, P::kColumns, kFetch>(weights, span, next, range, i, work, row);
  }
  for (; i < work.vectors; ++i) {
    value_block<P, kR, 1, kFetch>(weights, span, next, range, i, work, row);
  }
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
  }
  if constexpr (kRows > 4) {
    if (rest == 4) action.template operator()<4>(row);
    if (rest == 5) action.template operator()<5>(row);
  }
}

// One split's part in the results of kR queries.
template <typename P, int kR, bool kFetch>
void attend_rows(const Span<typename P::Source>& span, const Span<typename P::Source>& next,
                 float soft_cap, Factors<typename P::Element>& factors, Work& work, int32_t row) {
  const Range range = visible_tiles(work, row, kR);
  if (range.end <= range.begin) return;
  score_rows<P, kR, kFetch>(factors.q + row * work.key_dim, span, range, work, row,
                            factors.scores);
  softmax<P, kR>(factors.scores, span, range, soft_cap, work, row, factors.weights);
  value_rows<P, kR, kFetch>(factors.weights, span, next, range, work, row);
}

// One split's part in the results of all queries. `next`: what will be read after it, if known.
// The first register block fetches for those that follow it.
template <typename P>
void attend(const Span<typename P::Source>& span, const Span<typename P::Source>& next,
            float soft_cap, Factors<typename P::Element>& factors, Work& work) {
  for_row_blocks(work.queries, [&]<int kR>(int32_t row) {
    if (row == 0) {
      attend_rows<P, kR, true>(span, next, soft_cap, factors, work, row);
    } else {
      attend_rows<P, kR, false>(span, next, soft_cap, factors, work, row);
    }
  });
}

// Convert a split's keys and values to f32 once, for many queries.
template <typename P>
Span<float> stage(const Span<typename P::Source>& span, const Work& work, float* memory) {
  const int32_t stride = work.vectors * kLanes;
  Span<float> staged;
  staged.begin = span.begin;
  staged.tokens = span.tokens;
  staged.tiles = span.tiles;
  for (int32_t i = 0; i < span.tiles; ++i) {
    staged.keys[i] = memory;
    for (int32_t d = 0; d < work.key_dim; ++d, memory += kTile) {
      store(memory, P::key(span.keys[i], d));
    }
    staged.values[i] = memory;
    const int32_t elements = smaller(span.tokens - i * kTile, kTile) * stride;
    for (int32_t e = 0; e < elements; e += kLanes, memory += kLanes) {
      store(memory, P::value(span.values[i] + e));
    }
  }
  return staged;
}

template <typename P>
void attend_staged(const Span<typename P::Source>& span, float soft_cap, Factors<float>& factors,
                   Work& work) {
  alignas(64) float memory[2 * kSplit * kStagedDim];
  attend<FloatProducts<KVType::F32>>(stage<P>(span, work, memory), {}, soft_cap, factors, work);
}

template <typename P>
void add_split(const AttentionCall& call, const AttentionTile& tile,
               const Span<typename P::Source>& span, const Span<typename P::Source>& next,
               Factors<typename P::Element>& factors, Work& work) {
  set_visible(call, tile, span, work);
  if constexpr (P::kStaged) {
    if (work.queries > 2 * kRows && call.kv.head_dim <= kStagedDim) {
      return attend_staged<P>(span, call.soft_cap, factors, work);
    }
  }
  attend<P>(span, next, call.soft_cap, factors, work);
}

}  // namespace
}  // namespace legato
