// Recalled drafts: what the text repeats, and where it repeats nothing, what mostly follows;
// legato/speculative/recall.py defines them.
#pragma once

#include "draft.h"
#include "ngram_memory.h"
#include "ngram_table.h"
#include "per_tenant.h"

namespace legato {

// What all drafts of a drafter guess with. `rates`: how often guesses of each class are right.
struct RecallSources {
  NGramTable table;
  std::vector<double> rates;
};

// Copies what the text repeats, else takes the likeliest follower of its last tokens: out of a
// table or out of the tenant's last outputs, about `shared_tokens` tokens of them.
class RecallDrafter : public Drafter {
 public:
  // Throws std::invalid_argument where `sources` has not a rate for each class: of copies, of
  // followers in the table, of followers in memory.
  RecallDrafter(RecallSources sources, size_t shared_tokens);

  std::unique_ptr<Draft> open(const std::string& tenant) override;

 private:
  std::shared_ptr<const RecallSources> sources_;
  PerTenant<NGramMemory> memories_;
};

}  // namespace legato
