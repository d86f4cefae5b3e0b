// What one tenant's texts were, for drafts to copy from; `Memory` of legato/speculative/suffix.py
// defines it.
#pragma once

#include <memory>
#include <span>

#include "automaton.h"

namespace legato {

// Outputs of one tenant in two generations: when the young one is full, the old one goes. Whoever
// reads a generation keeps it for as long as it reads.
class SuffixMemory {
 public:
  explicit SuffixMemory(size_t max_tokens);

  std::shared_ptr<const SuffixAutomaton> young() const { return young_; }
  std::shared_ptr<const SuffixAutomaton> old() const { return old_; }

  // Remembers an output, from its newest tokens where it is too long.
  void add(std::span<const int32_t> tokens);

 private:
  size_t room_;  // tokens of a generation
  std::shared_ptr<SuffixAutomaton> young_, old_;
};

}  // namespace legato
