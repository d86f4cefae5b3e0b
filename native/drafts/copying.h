// Continuing a text as an earlier passage went on; legato/speculative/copying.py defines it.
#pragma once

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

#include "draft.h"

namespace legato {

// An earlier passage of `length` tokens that a text ends with, and the place of its last token.
struct Match {
  int32_t length = 0;
  int32_t end = -1;
};

constexpr int32_t kCopyClasses = 6;

// The confidence class of a match of `length` tokens: 1, 2, 3–4, 5–8, 9–16 and longer.
inline int32_t match_class(int32_t length) {
  if (length == 0) return 0;
  return std::min<int32_t>(std::bit_width(static_cast<uint32_t>(length - 1)), kCopyClasses - 1);
}

// The token at `place` of `text`, which goes on with `found`.
inline int32_t token_at(std::span<const int32_t> text, const std::vector<Guess>& found,
                        size_t place) {
  return place < text.size() ? text[place] : found[place - text.size()].token;
}

// Replaces `found` by the `count` tokens that follow a match, which ends before `text` does. Where
// the copy reaches the end of the text it goes on with itself, so that a period repeats.
inline void copied(std::span<const int32_t> text, const Match& match, size_t count,
                   std::vector<Guess>& found) {
  found.clear();
  const size_t begin = static_cast<size_t>(match.end + 1);
  while (found.size() < count) {
    found.push_back({token_at(text, found, begin + found.size()), match_class(match.length)});
  }
}

}  // namespace legato
