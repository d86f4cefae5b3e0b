// Suffix drafts: the longest passage that the text repeats, in itself or in earlier outputs;
// legato/speculative/suffix.py defines them. Hu et al. 2024, "SAM Decoding" (arXiv 2411.10666).
#pragma once

#include "draft.h"
#include "per_tenant.h"
#include "suffix_memory.h"

namespace legato {

// Copies what followed the longest earlier occurrence of the text's end. Of the outputs that ended
// at most `shared_tokens` tokens are remembered for later texts of the same tenant.
class SuffixDrafter : public Drafter {
 public:
  explicit SuffixDrafter(size_t shared_tokens) : memories_(shared_tokens) {}

  std::unique_ptr<Draft> open(const std::string& tenant) override;

 private:
  PerTenant<SuffixMemory> memories_;
};

}  // namespace legato
