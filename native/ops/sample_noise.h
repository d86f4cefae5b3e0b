// Noise as a function of (seed, sample index, position, token): Philox4x32-10 (Salmon et al. 2011)
// and the Gumbel variate of its words. The definition is legato/sampling/noise.py.
#pragma once

#include "sample_kernels.h"
#include "vector_math.h"

namespace legato {
namespace {

constexpr uint32_t kNoiseDomain = 0x4C474154;  // "LGAT"
constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr float kLargestNoise = 17.4f;        // -log(-log(1 - 2^-25)) = 17.33

// Ten rounds on sixteen counters, in place.
inline void philox(Ints counter[4], uint32_t key0, uint32_t key1) {
  const Ints multiplier0 = splat(static_cast<int32_t>(kMultiplier0));
  const Ints multiplier1 = splat(static_cast<int32_t>(kMultiplier1));
  for (int round = 0; round < 10; ++round) {
    Ints high0, low0, high1, low1;
    multiply_wide(counter[0], multiplier0, high0, low0);
    multiply_wide(counter[2], multiplier1, high1, low1);
    counter[0] = high1 ^ counter[1] ^ splat(static_cast<int32_t>(key0));
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ splat(static_cast<int32_t>(key1));
    counter[3] = low0;
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
}

inline void philox(const NoiseKey& key, Ints first_words, Ints words[4]) {
  words[0] = first_words;
  words[1] = splat(key.position);
  words[2] = splat(key.sample_index);
  words[3] = splat(static_cast<int32_t>(kNoiseDomain));
  philox(words, key.low, key.high);
}

// The words of any sixteen tokens.
inline Ints words_of(const NoiseKey& key, Ints tokens) {
  Ints words[4];
  philox(key, shift_right<2>(tokens), words);
  const Ints lane = tokens & splat(3);
  const Ints low = select(lane == splat(0), words[0], words[1]);
  const Ints high = select(lane == splat(2), words[2], words[3]);
  return select(lane < splat(2), low, high);
}

// The words of tokens [first, first + 64); first is a multiple of 64.
inline void words_of_64(const NoiseKey& key, int32_t first, Ints words[4]) {
  const Ints lanes = lane_numbers();
  // Lane 4b + q takes counter 4q + b, which transpose_quads puts in order of tokens.
  const Ints order = shift_left<2>(lanes & splat(3)) + shift_right<2>(lanes);
  philox(key, order + splat(first / 4), words);
  transpose_quads(words);
}

// -log(-log u) with u = ((word >> 8) + 1/2) 2^-24 = odd 2^-25. f32 does not hold every u above
// 1/2, so 1 + f (a multiple of u) is taken from the integer there; this also keeps u below 1.
inline Floats gumbel(Ints words) {
  const Ints odd = shift_left<1>(shift_right<8>(words)) + splat(1);
  const Ints half = splat(1 << 24);
  Floats f, exponent;
  split_for_log(to_floats(odd) * splat(0x1p-25f), f, exponent);
  const Mask middle = half < odd;
  const Mask top = splat(23726566) < odd;  // 2^25 sqrt(1/2)
  f = select(middle, to_floats(odd - half) * splat(0x1p-24f), f);
  exponent = select(middle, splat(-1.0f), exponent);
  f = select(top, to_floats(odd - splat(1 << 25)) * splat(0x1p-25f), f);
  exponent = select(top, splat(0.0f), exponent);
  const Floats negative = log_of_parts(f, exponent);
  return splat(0.0f) - log_lanes(splat(0.0f) - negative);
}

// What the words of all tokens of a row have in common, as whole vectors.
struct NoiseVectors {
  Wides key0[10], key1[10];  // of each round
  Wides position, sample_index;
};

inline NoiseVectors vectors_of(const NoiseKey& key) {
  NoiseVectors all;
  all.position = wide(static_cast<uint32_t>(key.position));
  all.sample_index = wide(static_cast<uint32_t>(key.sample_index));
  for (uint32_t round = 0; round < 10; ++round) {
    all.key0[round] = wide(key.low + round * kWeyl0);
    all.key1[round] = wide(key.high + round * kWeyl1);
  }
  return all;
}

// The largest words of kGroups * kWides counters, a lane each. Lanes are twice as wide as the words:
// products need no sorting into halves. Groups side by side hide the latency of each.
template <int kGroups>
inline Wides largest_words(const NoiseVectors& noise, uint32_t counter) {
  const Wides multiplier0 = wide(kMultiplier0), multiplier1 = wide(kMultiplier1);
  Wides c[kGroups][4];
  for (uint32_t g = 0; g < kGroups; ++g) {
    c[g][0] = wide_numbers(counter + g * kWides);
    c[g][1] = noise.position;
    c[g][2] = noise.sample_index;
    c[g][3] = wide(kNoiseDomain);
  }
  for (int round = 0; round < 10; ++round) {
    for (Wides* counters : c) {
      const Wides product0 = multiply_low(counters[0], multiplier0);
      const Wides product1 = multiply_low(counters[2], multiplier1);
      counters[0] = xor_all(high_half(product1), counters[1], noise.key0[round]);
      counters[1] = product1;
      counters[2] = xor_all(high_half(product0), counters[3], noise.key1[round]);
      counters[3] = product0;
    }
  }
  Wides largest = wide(0);
  for (const Wides* words : c) {
    for (int i = 0; i < 4; ++i) largest = max_low(largest, words[i]);
  }
  return largest;
}

// The largest word >> 8 of tokens [first, first + kSampleChunk).
inline int32_t largest_word(const NoiseVectors& noise, int32_t first) {
  constexpr int kGroups = 2;
  Wides largest = wide(0);
  for (int32_t token = first; token < first + kSampleChunk; token += 4 * kGroups * kWides) {
    largest = max_low(largest, largest_words<kGroups>(noise, static_cast<uint32_t>(token / 4)));
  }
  uint64_t lanes[kWides];
  store(lanes, largest);
  uint32_t most = 0;
  for (const uint64_t lane : lanes) {
    const auto word = static_cast<uint32_t>(lane);
    most = word > most ? word : most;
  }
  return static_cast<int32_t>(most >> 8);
}

// Whether some noise in [first, first + kSampleChunk) may reach `wanted`. noise < x where
// u < e^(-e^-x), and so where u < 1 - e^-x, u being (word >> 8) 2^-24 or a little more.
inline bool may_reach(const NoiseVectors& noise, int32_t first, float wanted) {
  if (!(wanted > 0.0f)) return true;
  float rest[kLanes];
  store(rest, exp_lanes(splat(-wanted)));
  const int32_t least = (1 << 24) - 2 - static_cast<int32_t>(rest[0] * 0x1p24f);
  return largest_word(noise, first) >= least;
}

inline void noise(const NoiseKey& key, int32_t count, uint32_t* words, float* noise) {
  for (int32_t first = 0; first < count; first += 64) {
    Ints block[4];
    words_of_64(key, first, block);
    for (int i = 0; i < 64 && first + i < count; i += kLanes) {
      int32_t word_lanes[kLanes];
      float noise_lanes[kLanes];
      store(word_lanes, block[i / kLanes]);
      store(noise_lanes, gumbel(block[i / kLanes]));
      for (int lane = 0; lane < kLanes && first + i + lane < count; ++lane) {
        words[first + i + lane] = static_cast<uint32_t>(word_lanes[lane]);
        noise[first + i + lane] = noise_lanes[lane];
      }
    }
  }
}

}  // namespace
}  // namespace legato
