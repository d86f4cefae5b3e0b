// The drafts of all texts that are under way, asked together; legato/speculative/book.py defines
// what a book does.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "acceptance.h"
#include "depth.h"
#include "draft.h"

namespace legato {

// A text whose first `known` tokens its draft was told, and what it guessed last.
class DraftedText {
 public:
  DraftedText(std::unique_ptr<Draft> draft, Acceptance acceptance)
      : draft_(std::move(draft)), acceptance_(std::move(acceptance)) {}

  // Lets it guess up to `count` tokens after `tokens`, which has all that it was told before.
  void ask(std::span<const int32_t> tokens, size_t count);

  // How many tokens each guess is expected to add.
  void gains(std::vector<double>& found) const;

  std::span<const Guess> guesses() const { return guesses_; }
  size_t known() const { return known_; }

  void observe(std::span<const Guess> draft, size_t accepted) {
    acceptance_.observe(draft, accepted);
  }
  void finish(std::span<const int32_t> output) { draft_->finish(output); }

 private:
  std::unique_ptr<Draft> draft_;
  Acceptance acceptance_;
  size_t known_ = 0;
  std::vector<Guess> guesses_;
};

// A text, its tokens so far, and the most tokens to draft for it.
struct Asked {
  DraftedText* text;
  std::span<const int32_t> tokens;
  size_t count;
};

// How many of the guesses of each text are drafted, and how many of these are expected to be right.
struct ChosenDrafts {
  std::vector<size_t> depths;
  double expected;
};

class Book {
 public:
  // A guess that is expected to add less than `min_gain` tokens is not drafted where it has to pay.
  Book(std::shared_ptr<Drafter> drafter, Rates priors, Learning learning, double min_gain)
      : drafter_(std::move(drafter)),
        overall_(std::move(priors), learning),
        learning_(learning),
        min_gain_(min_gain) {}

  std::unique_ptr<DraftedText> open(const std::string& tenant);
  ChosenDrafts propose(std::span<const Asked> asked, const DraftTerms& terms, double least_gain);
  ChosenDrafts propose_all(std::span<const Asked> asked, size_t max_rows);
  void verified(DraftedText& text, size_t drafted, size_t accepted);

 private:
  // Asks all, and notes what their guesses are expected to add.
  void ask(std::span<const Asked> asked);
  ChosenDrafts chosen(std::vector<size_t> depths) const;

  std::shared_ptr<Drafter> drafter_;
  Acceptance overall_;
  Learning learning_;
  double min_gain_;
  std::vector<std::vector<double>> gains_;  // of the texts that were asked last
};

}  // namespace legato
