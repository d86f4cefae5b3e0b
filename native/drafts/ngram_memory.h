// Which token came last after which context in a tenant's outputs, and how often in a row;
// legato/speculative/ngram_memory.py defines it.
#pragma once

#include <span>

#include "contexts.h"
#include "draft.h"
#include "flat_map.h"

namespace legato {

// Followers by context, of about the last `max_tokens` tokens: when the young generation is full,
// the old one goes.
class NGramMemory {
 public:
  explicit NGramMemory(size_t max_tokens);

  // Remembers an output, from its newest tokens where it is too long.
  void add(std::span<const int32_t> tokens);

  // What followed the longest known context of `keys`; null where none is known. Valid until the
  // next output.
  const Guess* follower(const ContextKeys& keys) const;

 private:
  const Guess* known(uint64_t key) const;

  size_t room_;  // tokens of a generation
  size_t added_ = 0;
  FlatMap<Guess> young_, old_;
};

}  // namespace legato
