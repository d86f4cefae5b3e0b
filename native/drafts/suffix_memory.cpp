#include "suffix_memory.h"

#include <algorithm>
#include <utility>

namespace legato {

SuffixMemory::SuffixMemory(size_t max_tokens)
    : room_(std::max<size_t>(1, max_tokens / 2)),
      young_(std::make_shared<SuffixAutomaton>()),
      old_(std::make_shared<SuffixAutomaton>()) {}

void SuffixMemory::add(std::span<const int32_t> tokens) {
  if (young_->text().size() + tokens.size() > room_) {
    old_ = std::exchange(young_, std::make_shared<SuffixAutomaton>());
  }
  young_->extend(tokens.last(std::min(room_, tokens.size())));
}

}  // namespace legato
