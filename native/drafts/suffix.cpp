#include "suffix.h"

#include <algorithm>

namespace legato {
namespace {

constexpr int32_t kLeastMatch = 2;  // shorter ones are chance

// The longest end of one text that occurs in another, which may grow.
class Cursor {
 public:
  explicit Cursor(std::shared_ptr<const SuffixAutomaton> other) : other_(std::move(other)) {}

  int32_t length() const { return position_.length; }

  void follow(std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) position_ = other_->follow(position_, token);
  }

  // Replaces `found` by what followed in the other text, which does not go on beyond its end.
  void propose(size_t count, std::vector<Guess>& found) const {
    const Match match = other_->match_at(position_);
    const size_t left = other_->text().size() - static_cast<size_t>(match.end + 1);
    copied(other_->text(), match, std::min(count, left), found);
  }

 private:
  std::shared_ptr<const SuffixAutomaton> other_;
  SuffixAutomaton::Position position_;
};

// One text, its automaton, and cursors into what is remembered.
class SuffixDraft : public Draft {
 public:
  explicit SuffixDraft(std::shared_ptr<SuffixMemory> memory) : memory_(std::move(memory)) {
    if (memory_) cursors_ = {Cursor(memory_->young()), Cursor(memory_->old())};
  }

  void extend(std::span<const int32_t> tokens) override {
    own_.extend(tokens);
    for (Cursor& cursor : cursors_) cursor.follow(tokens);
  }

  void propose(size_t count, std::vector<Guess>& found) override {
    const Match own = own_.repeated_suffix();
    const auto best = std::max_element(
        cursors_.begin(), cursors_.end(),
        [](const Cursor& a, const Cursor& b) { return a.length() < b.length(); });
    if (best != cursors_.end() && best->length() > std::max(own.length, kLeastMatch - 1)) {
      best->propose(count, found);
    } else {
      copied(own_.text(), own, own.length >= kLeastMatch ? count : 0, found);
    }
  }

  void finish(std::span<const int32_t> output) override {
    if (memory_) memory_->add(output);
  }

 private:
  SuffixAutomaton own_;
  std::shared_ptr<SuffixMemory> memory_;  // null where nothing is remembered
  std::vector<Cursor> cursors_;           // into the young generation, then into the old one
};

}  // namespace

std::unique_ptr<Draft> SuffixDrafter::open(const std::string& tenant) {
  return std::make_unique<SuffixDraft>(memories_.of(tenant));
}

}  // namespace legato
