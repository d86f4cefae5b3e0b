// One row from logits to a token, over vector.h: the order of steps is that of
// legato/sampling/sampler.py.
#pragma once

#include "sample_noise.h"
#include "sample_select.h"

namespace legato {
namespace {

struct Scratch {
  float* row;        // adjusted logits, then scaled
  float* chunk_max;
  Candidates list;
  float* work;
  float* weights;
};

inline Scratch carve(uint8_t* memory, int32_t vocab) {
  const int64_t n = padded_vocab(vocab);
  float* floats = reinterpret_cast<float*>(memory);
  return {floats,
          floats + n,
          {floats + 2 * n, reinterpret_cast<int32_t*>(floats + 3 * n), 0},
          floats + 4 * n,
          floats + 5 * n};
}

inline bool is_adjusted(const SamplingState& s, int32_t row) {
  return s.bias_starts[row] < s.bias_starts[row + 1] ||
         s.seen_starts[row] < s.seen_starts[row + 1] || s.mask_index[row] >= 0;
}

inline void add_bias(const SamplingState& s, int32_t row, float* logits) {
  for (int32_t i = s.bias_starts[row]; i < s.bias_starts[row + 1]; ++i) {
    logits[s.bias_ids[i]] += s.bias_values[i];
  }
}

inline void apply_mask(const SamplingState& s, int32_t row, float* logits) {
  if (s.mask_index[row] < 0) return;
  const int64_t words = (s.vocab + 31) / 32;
  const uint32_t* allowed = s.masks + s.mask_index[row] * words;
  for (int32_t i = 0; i < s.vocab; i += kLanes) {
    const Mask lanes = mask_of_bits(allowed[i / 32] >> i % 32 & 0xffffu);
    store(logits + i, select(lanes, load(logits + i), splat(kMinusInfinity)));
  }
}

inline void penalise(const SamplingState& s, int32_t row, float* logits) {
  const float repetition = s.repetition[row];
  for (int32_t i = s.seen_starts[row]; i < s.seen_starts[row + 1]; ++i) {
    float& logit = logits[s.seen_ids[i]];
    const int32_t count = s.seen_counts[i];
    const float repeated = logit > 0 ? logit / repetition : logit * repetition;
    const float present = count > 0 ? s.presence[row] : 0.0f;
    logit = repeated - s.frequency[row] * static_cast<float>(count) - present;
  }
}

// Bias, mask and penalties, into the scratch.
inline void adjust(const SamplingState& s, int32_t row, const float* logits, float* target) {
  std::memcpy(target, logits, sizeof(float) * static_cast<size_t>(s.vocab));
  add_bias(s, row, target);
  apply_mask(s, row, target);
  penalise(s, row, target);
}

// The largest value + noise so far, a lane each.
struct Race {
  Floats best = splat(kMinusInfinity);
  Ints ids = splat(0);
};

inline void enter(Race& race, Floats scores, Ints ids) {
  const Mask better = race.best < scores;
  race.best = select(better, scores, race.best);
  race.ids = select(better, ids, race.ids);
}

inline int32_t winner(const Race& race) {
  float best[kLanes];
  int32_t ids[kLanes];
  store(best, race.best);
  store(ids, race.ids);
  int32_t lane = 0;
  for (int32_t i = 1; i < kLanes; ++i) {
    const bool tied = best[i] == best[lane] && ids[i] < ids[lane];
    if (best[i] > best[lane] || tied) lane = i;
  }
  return ids[lane];
}

inline int32_t race_candidates(const NoiseKey& key, const Candidates& list) {
  Race race;
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Mask inside = lanes_left(list.count, i);
    const Ints ids = select(inside, load(list.ids + i), splat(0));
    const Floats z = select(inside, load(list.values + i), splat(kMinusInfinity));
    enter(race, z + gumbel(words_of(key, ids)), ids);
  }
  return winner(race);
}

// All tokens of the row. Chunks that no noise can lift to the best so far are passed over.
inline int32_t race_all(const NoiseKey& key, const float* row, const float* chunk_max,
                        int32_t vocab) {
  Race race;
  float best = kMinusInfinity;
  for (int32_t first = 0; first < vocab; first += kChunk) {
    if (chunk_max[first / kChunk] + kLargestNoise < best) continue;
    for (int32_t i = first; i < first + kChunk; i += 64) {
      Ints words[4];
      words_of_64(key, i, words);
      for (int32_t q = 0; q < 4; ++q) {
        const int32_t id = i + q * kLanes;
        enter(race, load(row + id) + gumbel(words[q]), lane_numbers() + splat(id));
      }
    }
    best = max_lanes(race.best);
  }
  return winner(race);
}

// The temperature's and the filters' part. `max`: the largest of `logits`.
inline int32_t draw(const SamplingState& s, int32_t row, const float* logits, float max,
                    Scratch& scratch) {
  const int32_t vocab = s.vocab;
  const int32_t k = s.top_k[row];
  const double p = s.top_p[row];
  const bool use_k = k > 0 && k < vocab;
  const bool use_p = p < 1.0;
  const bool use_min = s.min_p[row] > 0.0f;
  const auto scale_row = use_p && !use_k ? scale<true> : scale<false>;
  double total = scale_row(logits, vocab, max, s.temperature[row], scratch.row, scratch.chunk_max);
  const NoiseKey key = noise_key(s.seed[row], s.sample_index[row], s.position[row]);
  if (!use_k && !use_p && !use_min) return race_all(key, scratch.row, scratch.chunk_max, vocab);

  const float least = use_min ? bound_of_min_p(s.min_p[row]) : kLowest;
  float bound = least;
  if (use_k) bound = bound_of_top_k(scratch.chunk_max, vocab, k, scratch.work);
  else if (use_p) bound = bound_of_top_p(p, total, vocab);
  collect(scratch.row, vocab, scratch.chunk_max, bound > kLowest ? bound : kLowest, scratch.list);
  if (use_k) {
    keep_top_k(scratch.list, k, scratch.work);
    total = weigh(scratch.list, scratch.weights);
  }
  if (use_p) keep_top_p(scratch.list, p, total, scratch.work, scratch.weights);
  if (use_min) keep_best(scratch.list, least, INT32_MAX);
  return race_candidates(key, scratch.list);
}

inline int32_t choose(const SamplingState& s, int32_t row, const float* logits, Scratch& scratch) {
  const float* source = logits;
  Scan found = scan(logits, s.vocab, scratch.chunk_max);
  if (found.nan) return -1;
  if (is_adjusted(s, row)) {
    adjust(s, row, logits, scratch.row);
    source = scratch.row;
    found = scan(source, s.vocab, scratch.chunk_max);
  }
  if (found.nan || !is_finite(found.max)) return -1;
  if (s.temperature[row] == 0.0f) {
    return find_first(source, s.vocab, scratch.chunk_max, found.max);
  }
  return draw(s, row, source, found.max, scratch);
}

inline void clear_logprobs(const SamplingState& s, int32_t row, const SamplingResult& result) {
  result.logprobs[row] = __builtin_nanf("");
  const int64_t start = static_cast<int64_t>(row) * s.max_logprobs;
  for (int32_t i = 0; i < s.max_logprobs; ++i) {
    result.top_ids[start + i] = -1;
    result.top_logprobs[start + i] = __builtin_nanf("");
  }
}

// Log-probabilities of the unmodified logits: of the chosen token and of the most likely ones.
inline void fill_logprobs(const SamplingState& s, int32_t row, const float* logits,
                          const SamplingResult& result, Scratch& scratch) {
  const Scan found = scan(logits, s.vocab, scratch.chunk_max);
  if (found.nan) return;
  const double log_total = log_sum(logits, s.vocab, found.max);
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(static_cast<double>(logits[id]) - found.max - log_total);
  };
  const int32_t chosen = result.token_ids[row];
  if (chosen >= 0) result.logprobs[row] = logprob(chosen);
  const int32_t wanted = smaller(s.num_logprobs[row], s.max_logprobs);
  const int32_t k = smaller(wanted, s.vocab);
  if (k <= 0) return;
  const float bound = bound_of_top_k(scratch.chunk_max, s.vocab, k, scratch.work);
  collect(logits, s.vocab, scratch.chunk_max, bound, scratch.list);
  const int64_t start = static_cast<int64_t>(row) * s.max_logprobs;
  first_in_order(scratch.list.values, scratch.list.ids, scratch.list.count, k,
                 result.top_ids + start);
  for (int32_t i = 0; i < k; ++i) {
    result.top_logprobs[start + i] = logprob(result.top_ids[start + i]);
  }
}

inline void sample(const SamplingState& s, int32_t row, const float* logits,
                   const SamplingResult& result, uint8_t* memory) {
  Scratch scratch = carve(memory, s.vocab);
  result.token_ids[row] = choose(s, row, logits, scratch);
  clear_logprobs(s, row, result);
  if (s.num_logprobs[row] >= 0) fill_logprobs(s, row, logits, result, scratch);
}

}  // namespace
}  // namespace legato
