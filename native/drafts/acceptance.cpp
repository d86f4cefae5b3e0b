#include "acceptance.h"

#include <algorithm>
#include <utility>

namespace legato {

Acceptance::Acceptance(Rates priors, Learning learning)
    : rates_(std::move(priors)), learning_(learning) {
  counts_.reserve(rates_.values.size());
  for (const double rate : rates_.values) {
    counts_.push_back({learning.prior_trials * rate, learning.prior_trials});
  }
}

void Acceptance::observe(std::span<const Guess> draft, size_t accepted) {
  const size_t tried = std::min(draft.size(), accepted + 1);
  for (size_t place = 0; place < tried; ++place) {
    const size_t at = cell(draft[place], place);
    Count& count = counts_[at];
    count.right = learning_.decay * count.right + (place < accepted ? 1.0 : 0.0);
    count.trials = learning_.decay * count.trials + 1.0;
    rates_.values[at] = count.right / count.trials;
  }
}

size_t Acceptance::cell(const Guess& guess, size_t place) const {
  const size_t classes = rates_.values.size() / rates_.places;
  const size_t known = std::min(static_cast<size_t>(guess.confidence), classes - 1);
  return known * rates_.places + std::min(place, rates_.places - 1);
}

}  // namespace legato
