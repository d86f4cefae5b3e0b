// Races: the largest value + noise, over a row or over a list of candidates.
#pragma once

#include "sample_noise.h"
#include "sample_scan.h"

namespace legato {
namespace {

// Scores are rounded, and so is the noise: who is this far behind may still win.
constexpr float kMargin = 1e-3f;

// The best so far, a lane each.
struct Race {
  Floats score = splat(kMinusInfinity);
  Floats value = splat(0.0f);
  Ints ids = splat(-1);

  void enter(Floats values, Floats noise, Ints who, Mask taking_part) {
    const Floats reached = select(taking_part, values + noise, splat(kMinusInfinity));
    const Mask better = score < reached;
    score = select(better, reached, score);
    value = select(better, values, value);
    ids = select(better, who, ids);
  }

  Winner winner() const {
    float scores[kLanes], values[kLanes];
    int32_t who[kLanes];
    store(scores, score);
    store(values, value);
    store(who, ids);
    int32_t lane = 0;
    for (int32_t i = 1; i < kLanes; ++i) {
      const bool tied = scores[i] == scores[lane] && who[i] < who[lane];
      if (scores[i] > scores[lane] || tied) lane = i;
    }
    return {scores[lane], values[lane], who[lane]};
  }
};

inline void enter_chunk(Race& race, const SampleRow& row, const NoiseKey& key, Limit limit,
                        int32_t first) {
  for (int32_t i = first; i < first + kChunk; i += 64) {
    Ints words[4];
    words_of_64(key, i, words);
    for (int32_t q = 0; q < 4; ++q) {
      const int32_t id = i + q * kLanes;
      const Floats values = load_values(row, id);
      const Ints ids = lane_numbers() + splat(id);
      race.enter(values, gumbel(words[q]), ids, above(limit, values, ids));
    }
  }
}

// Chunks that no noise, or not the noise they have, can lift to the best score are passed over.
inline Winner race(const SampleRow& row, const NoiseKey& key, Limit limit, float known,
                   TokenRange range) {
  const NoiseVectors noise = vectors_of(key);
  Race race;
  float best = known;
  each_chunk(range, [&](int32_t first) {
    const float most = value_of(row, row.chunk_max[first / kChunk]);
    if (most == kMinusInfinity || most < limit.value) return;
    const float wanted = best - most - kMargin * (1.0f - 1e-3f * most);
    if (wanted > kLargestNoise || !may_reach(noise, first, wanted)) return;
    enter_chunk(race, row, key, limit, first);
    const float found = max_lanes(race.score);
    best = best > found ? best : found;
  });
  return race.winner();
}

// Lanes of a vector that starts at element i of a list.
inline Mask lanes_of(const Candidates& list, int32_t i) {
  return lane_range(0, smaller(list.count - i, kLanes));
}

inline Winner race_list(const Candidates& list, const NoiseKey& key, Limit limit) {
  Race race;
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Mask inside = lanes_of(list, i);
    const Ints ids = select(inside, load(list.ids + i), splat(0));
    const Floats values = load(list.values + i);
    race.enter(values, gumbel(words_of(key, ids)), ids, above(limit, values, ids) & inside);
  }
  return race.winner();
}

inline double mass_list(const Candidates& list, Limit limit) {
  Doubles sum = zero_doubles();
  for (int32_t i = 0; i < list.count; i += kLanes) {
    const Floats values = load(list.values + i);
    const Mask inside = above(limit, values, load(list.ids + i)) & lanes_of(list, i);
    sum = sum + select(inside, exp_lanes(values), splat(0.0f));
  }
  return sum_lanes(sum);
}

}  // namespace
}  // namespace legato
