// bf16 products of an f16 cache, in pairs of dimensions and pairs of tokens. Keys, values, queries
// and weights are rounded to bf16 on their own, so that a row's bits stay independent of others.
#pragma once

#include "attention_products.h"
#include "vector_bf16.h"

namespace legato {
namespace {

struct PairProducts {
  using Source = uint16_t;
  using Element = uint16_t;
  using Operand = Pairs;
  static constexpr int kGroup = 2;

  static Operand repeat(const Element* group) { return splat_pair(group); }
  static Floats add(Operand a, Operand b, Floats sum) { return add_products(a, b, sum); }
  static Floats exp2(Floats x) { return exp2_coarse(x); }
  static void put(Element* p, Operand x) { store_pairs(p, x); }
  static Floats put_weights(Element* p, Floats x) { return store_rounded(p, x); }
  static void put_query(Element* block, int32_t d, int32_t count, int32_t i, int32_t width,
                        Floats x) {
    uint16_t lanes[kLanes];
    store_rounded(lanes, x);
    uint16_t* target = block + d * width + 2 * i;
    for (int32_t j = 0; j < count; j += 2) std::memcpy(target + j * width, lanes + j, 4);
  }
};

// Staged tiles are [head_dim / 2][16 tokens][2] and [tokens / 2][padded dimensions][2].
struct StagedPairs : PairProducts {
  using Staged = StagedPairs;
  static constexpr int kVector = 2 * kLanes;
  static Operand key(const Source* tile, int32_t d) { return load_pairs(tile + d * kTile); }
  static Operand value(const Source* token, int32_t) { return load_pairs(token); }
  static Operand last_value(const Source* token) { return load_pairs(token); }
};

struct HalfPairs : PairProducts {
  using Staged = StagedPairs;
  static constexpr int kVector = kLanes;
  static Operand key(const Source* tile, int32_t d) {
    return zip_pairs(load_half(tile + d * kTile), load_half(tile + (d + 1) * kTile));
  }
  static Operand value(const Source* token, int32_t stride) {
    return zip_pairs(load_half(token), load_half(token + stride));
  }
  // What follows the last token may not have been written.
  static Operand last_value(const Source* token) {
    return zip_pairs(load_half(token), splat(0.0f));
  }
};

}  // namespace
}  // namespace legato
