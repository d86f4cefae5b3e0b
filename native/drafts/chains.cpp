#include "chains.h"

#include <utility>

namespace legato {
namespace {

constexpr int kMostPlaces = 8;    // earlier places that are compared
constexpr int32_t kLongest = 32;  // tokens that are compared at each

}  // namespace

void HashChains::extend(std::span<const int32_t> tokens) {
  int32_t last = text_.empty() ? -1 : text_.back();
  for (const int32_t token : tokens) {
    const auto place = static_cast<int32_t>(text_.size());
    earlier_.push_back(std::exchange(pairs_.find_or_add(key_of(last, token), -1), place));
    single_ = std::exchange(singles_.find_or_add(key_of(0, token), -1), place);
    text_.push_back(token);
    last = token;
  }
}

Match HashChains::longest() const {
  int32_t place = text_.empty() ? -1 : earlier_.back();
  if (place < 0) return single_ >= 0 ? Match{1, single_} : Match{};
  Match found{2, place};
  for (int i = 0; i < kMostPlaces && place >= 0 && found.length < kLongest; ++i) {
    const int32_t length = match_length(place);
    if (length > found.length) found = {length, place};
    place = earlier_[static_cast<size_t>(place)];
  }
  return found;
}

Match HashChains::newest(int32_t before, int32_t token) const {
  if (const int32_t* pair = pairs_.find(key_of(before, token))) return {2, *pair};
  if (const int32_t* single = singles_.find(key_of(0, token))) return {1, *single};
  return {};
}

// How many tokens up to place `end` equal those at the end of the text; the last two do.
int32_t HashChains::match_length(int32_t end) const {
  const int32_t *earlier = text_.data() + end, *last = &text_.back();
  const int32_t most = std::min(kLongest, end + 1);
  int32_t length = 2;
  while (length < most && earlier[-length] == last[-length]) ++length;
  return length;
}

}  // namespace legato
