#include "recall.h"

#include <stdexcept>
#include <utility>

#include "chains.h"

namespace legato {
namespace {

// A chain ends where its next token is less likely than this to count.
constexpr double kLeastGain = 0.05;

// Where the classes of followers in memory begin, after copies and those in the table.
constexpr int32_t kRemembered = kCopyClasses + kFollowerClasses;
constexpr int32_t kClasses = kRemembered + kFollowerClasses;

constexpr Guess kNothing{-1, -1};

// One text and its hash chains.
class RecallDraft : public Draft {
 public:
  RecallDraft(std::shared_ptr<const RecallSources> sources, std::shared_ptr<NGramMemory> memory)
      : sources_(std::move(sources)), memory_(std::move(memory)) {}

  void extend(std::span<const int32_t> tokens) override { chains_.extend(tokens); }

  void propose(size_t count, std::vector<Guess>& found) override {
    found.clear();
    Match match = chains_.longest();
    Context context(chains_.text());
    double likely = 1.0;
    while (found.size() < count) {
      const Guess copy = copy_of(match, found);
      const Guess next = surer(copy, match.length, context);
      if (next.token < 0 || (likely *= rate(next)) < kLeastGain) break;
      found.push_back(next);
      if (next.token == copy.token) {
        match = {match.length + 1, match.end + 1};
      } else {
        match = chains_.newest(context.tokens().back(), next.token);
      }
      context.push(next.token);
    }
  }

  void finish(std::span<const int32_t> output) override {
    if (memory_) memory_->add(output);
  }

 private:
  double rate(const Guess& guess) const {
    return sources_->rates[static_cast<size_t>(guess.confidence)];
  }

  // What came after a match in the text, which goes on with `found`; nothing without a match.
  Guess copy_of(const Match& match, const std::vector<Guess>& found) const {
    if (match.length == 0) return kNothing;
    const auto place = static_cast<size_t>(match.end + 1);
    return {token_at(chains_.text(), found, place), match_class(match.length)};
  }

  // `copy`, or the follower of `context` where that is surer and the match not a long one.
  Guess surer(const Guess& copy, int32_t length, const Context& context) const {
    if (length >= static_cast<int32_t>(kOrder)) return copy;
    const Guess other = follower(ContextKeys(context.tokens()));
    if (other.token < 0) return copy;
    return copy.token < 0 || rate(other) > rate(copy) ? other : copy;
  }

  // The surer one of table and memory.
  Guess follower(const ContextKeys& keys) const {
    const Guess* counted = sources_->table.follower(keys);
    const Guess* recent = memory_ ? memory_->follower(keys) : nullptr;
    Guess best = kNothing;
    if (counted) best = {counted->token, kCopyClasses + counted->confidence};
    if (recent) {
      const Guess other{recent->token, kRemembered + recent->confidence};
      if (!counted || rate(other) > rate(best)) best = other;
    }
    return best;
  }

  HashChains chains_;
  std::shared_ptr<const RecallSources> sources_;
  std::shared_ptr<NGramMemory> memory_;  // null where nothing is remembered
};

}  // namespace

RecallDrafter::RecallDrafter(RecallSources sources, size_t shared_tokens)
    : memories_(shared_tokens) {
  if (sources.rates.size() != static_cast<size_t>(kClasses)) {
    throw std::invalid_argument("rates: one for each class: " + std::to_string(kClasses));
  }
  sources_ = std::make_shared<const RecallSources>(std::move(sources));
}

std::unique_ptr<Draft> RecallDrafter::open(const std::string& tenant) {
  return std::make_unique<RecallDraft>(sources_, memories_.of(tenant));
}

}  // namespace legato
