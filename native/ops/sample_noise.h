// Noise as a function of (seed, sample index, position, token): Philox4x32-10 (Salmon et al. 2011)
// and the Gumbel variate of its words. The definition is legato/sampling/noise.py.
#pragma once

#include "vector_math.h"

namespace legato {
namespace {

constexpr int32_t kNoiseDomain = 0x4C474154;  // "LGAT"
constexpr float kLargestNoise = 17.4f;        // -log(-log(1 - 2^-25)) = 17.33

struct NoiseKey {
  uint32_t low, high;  // of the seed
  int32_t position, sample_index;
};

inline NoiseKey noise_key(uint64_t seed, uint32_t sample_index, int32_t position) {
  return {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), position,
          static_cast<int32_t>(sample_index)};
}

// Ten rounds on sixteen counters, in place.
inline void philox(Ints counter[4], uint32_t key0, uint32_t key1) {
  const Ints multiplier0 = splat(static_cast<int32_t>(0xD2511F53));
  const Ints multiplier1 = splat(static_cast<int32_t>(0xCD9E8D57));
  for (int round = 0; round < 10; ++round) {
    Ints high0, low0, high1, low1;
    multiply_wide(counter[0], multiplier0, high0, low0);
    multiply_wide(counter[2], multiplier1, high1, low1);
    counter[0] = high1 ^ counter[1] ^ splat(static_cast<int32_t>(key0));
    counter[1] = low1;
    counter[2] = high0 ^ counter[3] ^ splat(static_cast<int32_t>(key1));
    counter[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

inline void philox(const NoiseKey& key, Ints first_words, Ints words[4]) {
  words[0] = first_words;
  words[1] = splat(key.position);
  words[2] = splat(key.sample_index);
  words[3] = splat(kNoiseDomain);
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

inline void noise(uint64_t seed, uint32_t sample_index, int32_t position, int32_t count,
                  uint32_t* words, float* noise) {
  const NoiseKey key = noise_key(seed, sample_index, position);
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
