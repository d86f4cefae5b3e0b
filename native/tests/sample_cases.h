// Requests to the sampler, how to run them, and the definition: sort everything, in double.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../ops/sample_row.h"
#include "../thread_pool.h"

using namespace legato;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

int failures = 0;

void expect(bool ok, const std::string& what) {
  if (ok) return;
  if (++failures <= 20) std::printf("FAILED: %s\n", what.c_str());
}

// One row's request, and the logits it meets.
struct Case {
  std::vector<float> logits;
  float temperature = 1, top_p = 1, min_p = 0, presence = 0, frequency = 0, repetition = 1;
  int32_t top_k = 0, position = 7, num_logprobs = -1;
  uint64_t seed = 42;
  uint32_t sample_index = 0;
  std::vector<std::pair<int32_t, float>> bias;
  std::vector<std::pair<int32_t, int32_t>> seen;  // id, count
  std::vector<uint32_t> mask;                     // empty: none
};

struct Answer {
  int32_t token = -1;
  float logprob = kNan;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
};

// SamplingState of several cases with one vocabulary; owns its arrays.
struct Batch {
  std::vector<float> temperature, top_p, min_p, presence, frequency, repetition, bias_values;
  std::vector<int32_t> top_k, position, bias_starts{0}, bias_ids, seen_starts{0}, seen_ids,
      seen_counts, num_logprobs, mask_index;
  std::vector<uint64_t> seed;
  std::vector<uint32_t> sample_index, masks;
  SamplingState state;

  Batch(const std::vector<Case>& cases, int32_t columns) {
    int32_t masks_so_far = 0;
    for (const Case& c : cases) {
      temperature.push_back(c.temperature);
      top_p.push_back(c.top_p);
      min_p.push_back(c.min_p);
      presence.push_back(c.presence);
      frequency.push_back(c.frequency);
      repetition.push_back(c.repetition);
      top_k.push_back(c.top_k);
      position.push_back(c.position);
      num_logprobs.push_back(c.num_logprobs);
      seed.push_back(c.seed);
      sample_index.push_back(c.sample_index);
      for (auto [id, value] : c.bias) {
        bias_ids.push_back(id);
        bias_values.push_back(value);
      }
      for (auto [id, count] : c.seen) {
        seen_ids.push_back(id);
        seen_counts.push_back(count);
      }
      bias_starts.push_back(static_cast<int32_t>(bias_ids.size()));
      seen_starts.push_back(static_cast<int32_t>(seen_ids.size()));
      mask_index.push_back(c.mask.empty() ? -1 : masks_so_far++);
      masks.insert(masks.end(), c.mask.begin(), c.mask.end());
    }
    state = {static_cast<int32_t>(cases.size()), static_cast<int32_t>(cases[0].logits.size()),
             temperature.data(), top_p.data(), min_p.data(), presence.data(), frequency.data(),
             repetition.data(), top_k.data(), seed.data(), sample_index.data(), position.data(),
             bias_starts.data(), bias_ids.data(), bias_values.data(), seen_starts.data(),
             seen_ids.data(), seen_counts.data(), num_logprobs.data(), mask_index.data(),
             masks.data(), columns};
  }
};

// By `threads` threads that share each row.
std::vector<Answer> run(Simd simd, const std::vector<Case>& cases, int32_t columns,
                        int threads = 1) {
  ThreadPool pool(threads);
  Batch batch(cases, columns);
  const auto rows = cases.size();
  const auto width = static_cast<size_t>(columns);
  std::vector<int32_t> tokens(rows, -7), top_ids(rows * width, -7);
  std::vector<float> logprobs(rows, -7), top_logprobs(rows * width, -7);
  const SamplingResult result{tokens.data(), logprobs.data(), top_ids.data(), top_logprobs.data()};
  std::vector<uint8_t> scratch(static_cast<size_t>(sample_scratch_bytes(batch.state.vocab)), 0xff);
  std::vector<Answer> answers;
  for (size_t r = 0; r < rows; ++r) {
    // An exact copy: reading past the end is a fault under a sanitiser.
    const std::vector<float> logits = cases[r].logits;
    pool.run([&](Worker& worker) {
      sample_row(simd, batch.state, static_cast<int32_t>(r), logits.data(), result, scratch.data(),
                 worker);
    });
    const auto start = static_cast<long>(r * width);
    const auto end = static_cast<long>((r + 1) * width);
    answers.push_back({tokens[r], logprobs[r],
                       {top_ids.begin() + start, top_ids.begin() + end},
                       {top_logprobs.begin() + start, top_logprobs.begin() + end}});
    expect(std::memcmp(logits.data(), cases[r].logits.data(), logits.size() * 4) == 0,
           "the logits were changed");
  }
  return answers;
}

Answer run_one(Simd simd, const Case& c) { return run(simd, {c}, std::max(c.num_logprobs, 0))[0]; }

// ---- The definition -------------------------------------------------------------------------

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

uint32_t word_of(const Case& c, uint32_t token) {
  const auto words =
      philox({token / 4, static_cast<uint32_t>(c.position), c.sample_index, 0x4C474154},
             static_cast<uint32_t>(c.seed), static_cast<uint32_t>(c.seed >> 32));
  return words[token % 4];
}

double gumbel_of(uint32_t word) {
  return -std::log(-std::log(((word >> 8) + 0.5) * std::ldexp(1.0, -24)));
}

std::vector<float> adjusted(const Case& c) {
  std::vector<float> l = c.logits;
  for (auto [id, value] : c.bias) l[static_cast<size_t>(id)] += value;
  for (size_t t = 0; t < l.size() && !c.mask.empty(); ++t) {
    if ((c.mask[t / 32] >> (t % 32) & 1) == 0) l[t] = -kInf;
  }
  for (auto [id, count] : c.seen) {
    float& x = l[static_cast<size_t>(id)];
    x = x > 0 ? x / c.repetition : x * c.repetition;
    x = x - c.frequency * static_cast<float>(count) - (count > 0 ? c.presence : 0);
  }
  return l;
}

std::vector<int32_t> descending(const std::vector<float>& values) {
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  return order;
}

// The tokens that the filters leave, most likely first. `slack` moves top-p's and min-p's limits:
// the sampler's f32 exponentials may decide a token at the very limit otherwise.
std::vector<int32_t> filtered(const Case& c, const std::vector<float>& z, double slack) {
  std::vector<int32_t> order = descending(z);
  std::erase_if(order, [&](int32_t t) { return z[static_cast<size_t>(t)] == -kInf; });
  if (c.top_k > 0 && static_cast<size_t>(c.top_k) < order.size()) {
    order.resize(static_cast<size_t>(c.top_k));
  }
  const auto weight = [&](int32_t t) {
    return std::exp(static_cast<double>(z[static_cast<size_t>(t)]));
  };
  double total = 0, mass = 0;
  for (int32_t t : order) total += weight(t);
  size_t kept = 0;
  while (kept < order.size() && (kept == 0 || mass < (c.top_p + slack) * total)) {
    mass += weight(order[kept++]);
  }
  if (c.top_p < 1) order.resize(kept);
  const double least = c.min_p * (1 - slack);
  std::erase_if(order, [&](int32_t t) { return weight(t) < least * weight(order[0]); });
  return order;
}

struct Choice {
  int32_t token;
  double lead;  // over the second: a close race may go either way in f32
};

Choice define(const Case& c, double slack) {
  const std::vector<float> l = adjusted(c);
  float max = -kInf;
  for (float x : l) max = std::isnan(x) ? kNan : std::max(max, x);
  for (float x : c.logits) max = std::isnan(x) ? kNan : max;
  if (!std::isfinite(max)) return {-1, kInf};
  if (c.temperature == 0) return {descending(l)[0], kInf};
  std::vector<float> z = l;
  for (float& x : z) x = (x - max) / c.temperature;
  Choice best{-1, kInf};
  double most = -kInf;
  for (int32_t t : filtered(c, z, slack)) {
    const double noise = gumbel_of(word_of(c, static_cast<uint32_t>(t)));
    const double score = z[static_cast<size_t>(t)] + noise;
    if (score > most) {
      best = {t, score - most};
      most = score;
    } else {
      best.lead = std::min(best.lead, most - score);
    }
  }
  return best;
}

}  // namespace
