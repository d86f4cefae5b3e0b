// How often guesses are right, by confidence and place; legato/speculative/accept.py defines it.
#pragma once

#include <span>
#include <vector>

#include "draft.h"

namespace legato {

// By confidence class, then by place in a draft; all classes have as many places.
struct Rates {
  std::vector<double> values;
  size_t places;
};

// Weight that what was learnt keeps when a guess is verified, and verified guesses that a prior
// counts for.
struct Learning {
  double decay, prior_trials;
};

class Acceptance {
 public:
  Acceptance(Rates priors, Learning learning);

  // The rates now.
  const Rates& rates() const { return rates_; }

  // Probability that a guess at `place` of a draft is right when those before it were.
  double rate(const Guess& guess, size_t place) const { return rates_.values[cell(guess, place)]; }

  // The guesses of `draft` were verified, and the first `accepted` of them were right.
  void observe(std::span<const Guess> draft, size_t accepted);

 private:
  struct Count {
    double right, trials;
  };

  // Classes and places beyond those of the priors count as the last of them.
  size_t cell(const Guess& guess, size_t place) const;

  Rates rates_;
  Learning learning_;
  std::vector<Count> counts_;
};

}  // namespace legato
