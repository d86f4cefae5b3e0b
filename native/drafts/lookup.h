// Prompt lookup: the newest earlier place of the last n tokens (Saxena 2023);
// legato/speculative/lookup.py defines it.
#pragma once

#include "draft.h"

namespace legato {

// Copies what followed the newest earlier occurrence of the last 4, 3 or 2 tokens.
class LookupDrafter : public Drafter {
 public:
  std::unique_ptr<Draft> open(const std::string& tenant) override;
};

}  // namespace legato
