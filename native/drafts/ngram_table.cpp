#include "ngram_table.h"

#include <algorithm>
#include <ranges>
#include <stdexcept>
#include <string>

namespace legato {
namespace {

void check(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(message);
}

template <class T>
bool all_below(std::span<const T> values, int64_t limit) {
  return std::ranges::all_of(values, [=](T value) { return value >= 0 && value < limit; });
}

}  // namespace

NGramTable::NGramTable(std::span<const int64_t> keys, std::span<const int32_t> tokens,
                       std::span<const uint8_t> classes) {
  check(keys.size() == tokens.size() && keys.size() == classes.size(),
        "keys, tokens and classes: one of each for every context");
  check(all_below(keys, kKeyLimit), "keys: hashes of contexts have 62 bits");
  check(all_below(tokens, int64_t{1} << 31), "tokens: token ids are not negative");
  check(all_below(classes, kFollowerClasses),
        "classes: of followers, below " + std::to_string(kFollowerClasses));
  followers_.reserve(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    followers_.find_or_add(static_cast<uint64_t>(keys[i]), {}) = {tokens[i], classes[i]};
  }
}

const Guess* NGramTable::follower(const ContextKeys& keys) const {
  for (const uint64_t key : std::views::reverse(keys.all())) {
    if (const Guess* found = followers_.find(key)) return found;
  }
  return nullptr;
}

}  // namespace legato
