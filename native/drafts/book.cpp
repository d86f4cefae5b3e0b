#include "book.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace legato {

void DraftedText::ask(std::span<const int32_t> tokens, size_t count) {
  draft_->extend(tokens.subspan(known_));
  known_ = tokens.size();
  guesses_.clear();
  if (count > 0) draft_->propose(count, guesses_);
}

void DraftedText::gains(std::vector<double>& found) const {
  found.clear();
  double likely = 1.0;
  for (size_t place = 0; place < guesses_.size(); ++place) {
    likely *= acceptance_.rate(guesses_[place], place);
    found.push_back(likely);
  }
}

std::unique_ptr<DraftedText> Book::open(const std::string& tenant) {
  return std::make_unique<DraftedText>(drafter_->open(tenant),
                                       Acceptance(overall_.rates(), learning_));
}

ChosenDrafts Book::propose(std::span<const Asked> asked, const DraftTerms& terms,
                           double least_gain) {
  ask(asked);
  for (std::vector<double>& own : gains_) {
    if (!own.empty() && own[0] < least_gain) own.clear();
  }
  return chosen(choose_depths(gains_, terms, min_gain_));
}

ChosenDrafts Book::propose_all(std::span<const Asked> asked, size_t max_rows) {
  ask(asked);
  std::vector<size_t> depths;
  for (const std::vector<double>& own : gains_) {
    depths.push_back(std::min(own.size(), max_rows));
    max_rows -= depths.back();
  }
  return chosen(std::move(depths));
}

void Book::verified(DraftedText& text, size_t drafted, size_t accepted) {
  const auto draft = text.guesses().first(std::min(drafted, text.guesses().size()));
  overall_.observe(draft, accepted);
  text.observe(draft, accepted);
}

void Book::ask(std::span<const Asked> asked) {
  gains_.resize(asked.size());
  for (size_t i = 0; i < asked.size(); ++i) {
    asked[i].text->ask(asked[i].tokens, asked[i].count);
    asked[i].text->gains(gains_[i]);
  }
}

ChosenDrafts Book::chosen(std::vector<size_t> depths) const {
  double expected = 0.0;
  for (size_t i = 0; i < depths.size(); ++i) {
    const auto end = gains_[i].begin() + static_cast<std::ptrdiff_t>(depths[i]);
    expected += std::accumulate(gains_[i].begin(), end, 0.0);
  }
  return {std::move(depths), expected};
}

}  // namespace legato
