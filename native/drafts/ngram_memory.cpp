#include "ngram_memory.h"

#include <algorithm>
#include <ranges>
#include <utility>

namespace legato {

NGramMemory::NGramMemory(size_t max_tokens) : room_(std::max<size_t>(1, max_tokens / 2)) {}

void NGramMemory::add(std::span<const int32_t> tokens) {
  tokens = tokens.last(std::min(room_, tokens.size()));
  if (added_ + tokens.size() > room_) {
    old_ = std::exchange(young_, {});
    added_ = 0;
  }
  added_ += tokens.size();
  for (size_t place = 1; place < tokens.size(); ++place) {
    int32_t first_class = 0;
    const ContextKeys keys(tokens.first(place));
    for (const uint64_t key : keys.all()) {
      const Guess* before = known(key);
      const bool again = before && before->token == tokens[place];
      const int32_t run = again ? std::min(kGrades - 1, before->confidence % kGrades + 1) : 0;
      young_.find_or_add(key, {}) = {tokens[place], first_class + run};
      first_class += kGrades;
    }
  }
}

const Guess* NGramMemory::follower(const ContextKeys& keys) const {
  for (const uint64_t key : std::views::reverse(keys.all())) {
    if (const Guess* found = known(key)) return found;
  }
  return nullptr;
}

const Guess* NGramMemory::known(uint64_t key) const {
  const Guess* young = young_.find(key);
  return young ? young : old_.find(key);
}

}  // namespace legato
