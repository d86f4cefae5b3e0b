// Which token follows which, counted over texts; `NGramTable` of legato/speculative/ngrams.py
// defines it.
#pragma once

#include <span>

#include "contexts.h"
#include "draft.h"
#include "flat_map.h"

namespace legato {

// The likeliest token after each known context.
class NGramTable {
 public:
  // Context keys, and the follower of each and its class. Throws std::invalid_argument where they
  // are no keys, tokens and classes of a table.
  NGramTable(std::span<const int64_t> keys, std::span<const int32_t> tokens,
             std::span<const uint8_t> classes);

  // What follows the longest known context of `keys`; null where none is known.
  const Guess* follower(const ContextKeys& keys) const;

 private:
  FlatMap<Guess> followers_;
};

}  // namespace legato
