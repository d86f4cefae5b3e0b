// How deep to draft; legato/speculative/depth.py defines it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace legato {

// The step that drafts join.
struct DraftTerms {
  size_t decodes;                 // sequences in it, those without a draft included
  std::span<const double> times;  // what it takes with 0, 1, 2 … drafted rows, ns; at least one
  double limit_ns;                // a longer step is not chosen
  double margin;                  // tokens a second must grow by this much
};

// Drafted tokens for each text, so that expected tokens per predicted second are most; `gains`: the
// expected tokens that the 1st, 2nd … guess of each text adds. One that adds less than `min_gain`
// is not drafted.
std::vector<size_t> choose_depths(std::span<const std::vector<double>> gains,
                                  const DraftTerms& terms, double min_gain);

}  // namespace legato
