// One row from logits to a token, by a team of threads. A team has share(items, work), as Worker
// has; all of its threads call sample_row with the same arguments. The row is cut into segments of
// fixed size whose results are put together in order, so that no bit depends on the team.
//
// Top-p without sorting: the winner of the race among all tokens is the answer if it is inside the
// nucleus, that is, if the tokens above it weigh less than p. If not, all that are inside are above
// it, and the race is run again among those. The first winner is inside with probability p.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "sample_scratch.h"

namespace legato {

constexpr int32_t kNoToken = -1;

// A team of one.
struct Alone {
  template <class Work>
  void share(int64_t items, Work&& work) const {
    for (int64_t item = 0; item < items; ++item) work(item);
  }
};

inline NoiseKey noise_key(uint64_t seed, uint32_t sample_index, int32_t position) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), position,
          static_cast<int32_t>(sample_index)};
}

// The least f32 that is not below log(min_p): z >= it exactly where e^z >= min_p.
inline float least_of_min_p(float min_p) {
  const double exact = std::log(static_cast<double>(min_p));
  const auto near = static_cast<float>(exact);
  return near < exact ? std::nextafter(near, 1.0f) : near;
}

template <class Team>
class RowSampler {
 public:
  RowSampler(const SampleKernels& kernels, const SamplingState& state, int32_t row,
             const float* logits, uint8_t* scratch, Team& team)
      : kernels_(kernels),
        s_(state),
        row_(row),
        logits_(logits),
        scratch_(scratch, state.vocab),
        segments_(sample_segments(state.vocab)),
        team_(team) {}

  void run(const SamplingResult& result) {
    const Scan found = scan();
    const bool readable = !found.nan && std::isfinite(found.max);
    const int32_t token = readable ? choose(found.max) : kNoToken;
    once([&] { write(result, token); });
    if (readable && s_.num_logprobs[row_] >= 0) fill_logprobs(result, token, found.max);
  }

 private:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static constexpr float kLowest = std::numeric_limits<float>::lowest();
  static constexpr Limit kEverything{-kInfinity, 0};  // forbidden tokens are at -inf, not above

  template <class Work>
  void once(Work&& work) {
    team_.share(1, [&](int64_t) { work(); });
  }

  // Call work(segment, its tokens) for every segment.
  template <class Work>
  void each_segment(Work&& work) {
    team_.share(segments_, [&](int64_t i) {
      const auto first = static_cast<int32_t>(i * kSampleSegment);
      work(scratch_.segments[i], TokenRange{first, std::min(first + kSampleSegment, s_.vocab)});
    });
  }

  bool has_mask() const { return s_.mask_index[row_] >= 0; }
  bool is_adjusted() const {
    return has_mask() || s_.bias_starts[row_] < s_.bias_starts[row_ + 1] ||
           s_.seen_starts[row_] < s_.seen_starts[row_ + 1];
  }
  const uint32_t* mask() const {
    if (!has_mask()) return nullptr;
    return s_.masks + int64_t{s_.mask_index[row_]} * ((s_.vocab + 31) / 32);
  }
  bool allowed(int32_t id) const { return !has_mask() || (mask()[id / 32] >> id % 32 & 1) != 0; }

  // Of the logits as they came; fills the chunk maxima of those that are chosen from.
  Scan scan() {
    each_segment([&](SampleSegment& segment, TokenRange range) {
      segment.scan = is_adjusted() ? kernels_.copy_masked(logits_, s_.vocab, range, mask(),
                                                          scratch_.row, scratch_.chunk_max)
                                   : kernels_.scan(logits_, s_.vocab, range, scratch_.chunk_max);
    });
    Scan all{-kInfinity, false};
    for (int32_t i = 0; i < segments_; ++i) {
      const Scan& one = scratch_.segments[i].scan;
      all = {std::max(all.max, one.max), all.nan || one.nan};
    }
    return all;
  }

  int32_t choose(float max) {
    if (is_adjusted()) {
      once([&] { adjust(); });
      max = scratch_.shared->max;
      if (!std::isfinite(max)) return kNoToken;
    }
    const float temperature = s_.temperature[row_];
    const SampleRow view{is_adjusted() ? scratch_.row : logits_, scratch_.chunk_max, s_.vocab, max,
                         temperature};
    if (temperature == 0.0f) return kernels_.find_first(view);
    const int32_t k = s_.top_k[row_];
    return k > 0 && k < s_.vocab ? draw_of_best(view, k) : draw(view);
  }

  // Bias and penalties. They leave masked tokens at -inf.
  void adjust() {
    float* logits = scratch_.row;
    const auto edit = [&](int32_t id, float value) {
      logits[id] = value;
      scratch_.chunk_max[id / kSampleChunk] = std::numeric_limits<float>::quiet_NaN();
    };
    for (int32_t i = s_.bias_starts[row_]; i < s_.bias_starts[row_ + 1]; ++i) {
      const int32_t id = s_.bias_ids[i];
      if (allowed(id)) edit(id, logits[id] + s_.bias_values[i]);
    }
    for (int32_t i = s_.seen_starts[row_]; i < s_.seen_starts[row_ + 1]; ++i) {
      const int32_t id = s_.seen_ids[i];
      if (allowed(id)) edit(id, penalised(logits[id], s_.seen_counts[i]));
    }
    const Scan found = kernels_.refresh(logits, s_.vocab, scratch_.chunk_max);
    scratch_.shared->max = found.nan ? kInfinity : found.max;
  }

  float penalised(float logit, int32_t count) const {
    const float repetition = s_.repetition[row_];
    const float repeated = logit > 0 ? logit / repetition : logit * repetition;
    const float present = count > 0 ? s_.presence[row_] : 0.0f;
    const float frequent = s_.frequency[row_] * static_cast<float>(count);
    return repeated - frequent - present;
  }

  // The temperature's and the filters' part, without top-k.
  int32_t draw(const SampleRow& view) {
    const NoiseKey key = this->key();
    const int32_t chunk = kernels_.find_first(view) / kSampleChunk * kSampleChunk;
    const TokenRange likeliest{chunk, std::min(chunk + kSampleChunk, s_.vocab)};
    const auto race = [&](Limit limit) {
      float known = kernels_.race(view, key, limit, -kInfinity, likeliest).score;
      each_segment([&](SampleSegment& segment, TokenRange range) {
        segment.winner = kernels_.race(view, key, limit, known, range);
        known = std::max(known, segment.winner.score);
      });
      return best_winner();
    };
    return first_inside(race, [&](Limit limit) { return mass(view, limit); });
  }

  // The same of the k largest.
  int32_t draw_of_best(const SampleRow& view, int32_t k) {
    collect(view, k, kLowest);
    once([&] {
      Candidates list = joined();
      kernels_.keep_top_k(list, k, scratch_.work);
      const NoiseKey key = this->key();
      scratch_.shared->token =
          first_inside([&](Limit limit) { return kernels_.race_list(list, key, limit); },
                       [&](Limit limit) { return kernels_.mass_list(list, limit); });
    });
    return scratch_.shared->token;
  }

  // The winner of the race(tokens above a limit) that top-p and min-p leave.
  template <class Race, class Mass>
  int32_t first_inside(Race&& race, Mass&& mass) const {
    const double p = s_.top_p[row_];
    const bool use_p = p < 1.0;
    const double wanted = use_p ? p * mass(kEverything) : 0.0;
    Limit limit = limit_of_min_p();
    while (true) {
      const Winner winner = race(limit);
      if (!use_p) return winner.id;
      limit = {winner.value, winner.id};
      const double above = mass(limit);
      if (above == 0.0 || above < wanted) return winner.id;
    }
  }

  Limit limit_of_min_p() const {
    const float min_p = s_.min_p[row_];
    if (!(min_p > 0.0f)) return kEverything;
    return {std::nextafter(least_of_min_p(min_p), -kInfinity), 0};
  }

  NoiseKey key() const {
    return noise_key(s_.seed[row_], s_.sample_index[row_], s_.position[row_]);
  }

  Winner best_winner() const {
    Winner best{-kInfinity, 0.0f, kNoToken};
    for (int32_t i = 0; i < segments_; ++i) {
      const Winner& one = scratch_.segments[i].winner;
      if (one.score > best.score) best = one;
    }
    return best;
  }

  double mass(const SampleRow& view, Limit limit) {
    each_segment([&](SampleSegment& segment, TokenRange range) {
      segment.mass = kernels_.mass(view, limit, range);
    });
    double sum = 0;
    for (int32_t i = 0; i < segments_; ++i) sum += scratch_.segments[i].mass;
    return sum;
  }

  // Collect the k tokens with the largest values, if these are not below `least`, and others.
  void collect(const SampleRow& view, int32_t k, float least) {
    once([&] { scratch_.shared->bound = std::max(least, bound_of_best(view, k)); });
    each_segment([&](SampleSegment& segment, TokenRange range) {
      const int64_t place = int64_t{range.first / kSampleSegment} * SampleScratch::kStride;
      segment.count = kernels_.collect(view, scratch_.shared->bound, range,
                                       scratch_.values + place, scratch_.ids + place);
    });
  }

  // A value that at least k tokens reach: the k-th largest of the chunks' own maxima.
  float bound_of_best(const SampleRow& view, int32_t k) {
    const int32_t chunks = sample_chunks(s_.vocab);
    if (k > chunks) return -kInfinity;
    std::memcpy(scratch_.work, view.chunk_max, sizeof(float) * static_cast<size_t>(chunks));
    const float logit = kth_largest(scratch_.work, chunks, k);
    return (logit - view.max) / view.temperature;
  }

  // The candidates of all segments side by side.
  Candidates joined() {
    Candidates list{scratch_.values, scratch_.ids, 0};
    for (int32_t i = 0; i < segments_; ++i) {
      const auto bytes = sizeof(float) * static_cast<size_t>(scratch_.segments[i].count);
      const int64_t place = int64_t{i} * SampleScratch::kStride;
      std::memmove(list.values + list.count, list.values + place, bytes);
      std::memmove(list.ids + list.count, list.ids + place, bytes);
      list.count += scratch_.segments[i].count;
    }
    return list;
  }

  void write(const SamplingResult& result, int32_t token) const {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    result.token_ids[row_] = token;
    result.logprobs[row_] = kNan;
    const int64_t start = int64_t{row_} * s_.max_logprobs;
    std::fill_n(result.top_ids + start, s_.max_logprobs, kNoToken);
    std::fill_n(result.top_logprobs + start, s_.max_logprobs, kNan);
  }

  // Log-probabilities of the unmodified logits: of the chosen token and of the most likely ones.
  void fill_logprobs(const SamplingResult& result, int32_t token, float max) {
    if (is_adjusted()) {
      each_segment([&](SampleSegment&, TokenRange range) {
        kernels_.scan(logits_, s_.vocab, range, scratch_.chunk_max);
      });
    }
    const SampleRow view{logits_, scratch_.chunk_max, s_.vocab, max, 1.0f};
    const double log_total = std::log(mass(view, kEverything));
    const int32_t k = std::min({s_.num_logprobs[row_], s_.max_logprobs, s_.vocab});
    if (k > 0) collect({logits_, scratch_.chunk_max, s_.vocab, 0.0f, 1.0f}, k, -kInfinity);
    once([&] {
      const auto logprob = [&](int32_t id) {
        return static_cast<float>(static_cast<double>(logits_[id]) - max - log_total);
      };
      if (token != kNoToken) result.logprobs[row_] = logprob(token);
      if (k == 0) return;
      const Candidates list = joined();
      const int64_t start = int64_t{row_} * s_.max_logprobs;
      first_in_order(list.values, list.ids, list.count, std::min(k, list.count),
                     result.top_ids + start);
      for (int32_t i = 0; i < k; ++i) {
        result.top_logprobs[start + i] = logprob(result.top_ids[start + i]);
      }
    });
  }

  const SampleKernels& kernels_;
  const SamplingState& s_;
  const int32_t row_;
  const float* const logits_;
  const SampleScratch scratch_;
  const int32_t segments_;
  Team& team_;
};

// Choose the token of one row: -1 where every token is forbidden or a logit is NaN or infinite.
// `logits` [vocab] is left unchanged. All threads of the team use the same scratch.
template <class Team>
void sample_row(Simd simd, const SamplingState& state, int32_t row, const float* logits,
                const SamplingResult& result, uint8_t* scratch, Team& team) {
  RowSampler<Team>(sample_kernels(simd), state, row, logits, scratch, team).run(result);
}

}  // namespace legato
