// Hash chains over a growing text, as in LZ77 compressors (Deutsch 1996, RFC 1951, section 4);
// legato/speculative/chains.py defines them.
#pragma once

#include <span>
#include <vector>

#include "copying.h"
#include "flat_map.h"

namespace legato {

// The places of all pairs of tokens of one text: each knows the newest earlier one of the same.
class HashChains {
 public:
  std::span<const int32_t> text() const { return text_; }

  // Appends `tokens` to the text.
  void extend(std::span<const int32_t> tokens);

  // A match of the end of the text with an earlier passage, the longest of the newest few.
  Match longest() const;

  // The newest pair `before`, `token`, or `token` alone; length 0 where neither occurs.
  Match newest(int32_t before, int32_t token) const;

 private:
  int32_t match_length(int32_t end) const;

  std::vector<int32_t> text_;
  std::vector<int32_t> earlier_;  // by place: the newest earlier one of the same pair, or -1
  FlatMap<int32_t> pairs_, singles_;
  int32_t single_ = -1;  // the newest earlier place of the last token
};

}  // namespace legato
