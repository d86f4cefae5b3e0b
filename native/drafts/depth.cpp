#include "depth.h"

namespace legato {
namespace {

// The text whose next guess adds most, the first of equal ones; `gains.size()` where none is left.
size_t best_of(std::span<const std::vector<double>> gains, const std::vector<size_t>& depths) {
  size_t best = gains.size();
  for (size_t i = 0; i < gains.size(); ++i) {
    if (depths[i] == gains[i].size()) continue;
    if (best == gains.size() || gains[i][depths[i]] > gains[best][depths[best]]) best = i;
  }
  return best;
}

}  // namespace

std::vector<size_t> choose_depths(std::span<const std::vector<double>> gains,
                                  const DraftTerms& terms, double min_gain) {
  std::vector<size_t> depths(gains.size()), best_depths(gains.size());
  double tokens = static_cast<double>(terms.decodes);
  double most = terms.margin * tokens / terms.times[0];
  for (const double time_ns : terms.times.subspan(1)) {
    const size_t i = best_of(gains, depths);
    if (i == gains.size() || time_ns > terms.limit_ns) break;
    const double gain = gains[i][depths[i]];
    if (gain < min_gain) break;
    ++depths[i];
    tokens += gain;
    if (tokens / time_ns > most) {
      most = tokens / time_ns;
      best_depths = depths;
    }
  }
  return best_depths;
}

}  // namespace legato
