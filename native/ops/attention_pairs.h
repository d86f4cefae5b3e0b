// Products of a bf16 cache in bf16, in pairs of dimensions and pairs of tokens. Queries and weights
// are rounded to bf16 on their own, so that a row's bits stay independent of others.
#pragma once

#include "attention_products.h"
#include "vector_bf16.h"

namespace legato {
namespace {

struct PairProducts : FloatSums {
  using Source = uint16_t;
  using Element = uint16_t;
  using Operand = Pairs;
  static constexpr int kGroup = 2;
  static constexpr int kVector = 2 * kLanes;
  static constexpr int kColumns = 4;
  static constexpr bool kStaged = false;

  static Operand key(const Source* tile, int32_t d) { return load_pairs(tile + d * kTile); }
  static Operand value(const Source* token) { return load_pairs(token); }
  // What follows the last token may not have been written.
  static Operand last_value(const Source* token) { return first_of_pairs(load_pairs(token)); }
  static Operand repeat(const Element* group) { return splat_pair(group); }
  static Floats add(Operand a, Operand b, Floats sum) { return add_products(a, b, sum); }
  static Floats exp2(Floats x, Floats minus) { return exp2_coarse(x, minus); }
  static Floats put_weights(Element* p, Floats x) {
    store_rounded(p, x);
    return x;
  }
  static void put_query(Element* block, int32_t d, int32_t count, int32_t i, int32_t width,
                        Floats x) {
    uint16_t lanes[kLanes];
    store_rounded(lanes, x);
    uint16_t* target = block + d * width + 2 * i;
    for (int32_t j = 0; j < count; j += 2) std::memcpy(target + j * width, lanes + j, 4);
  }
};

}  // namespace
}  // namespace legato
