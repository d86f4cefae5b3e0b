// The sampler against a plain definition (sort everything, double precision).
//
//   cd native && for f in avx512:-mavx512f\ -mavx512bw\ -mavx512vl\ -mavx512dq "avx2:-mavx2 -mfma -mf16c" portable:; do
//     g++ -std=c++20 -O3 -ffp-contract=off ${f#*:} -c ops/sample_${f%%:*}.cpp -o /tmp/sample_${f%%:*}.o; done
//   g++ -std=c++20 -O2 tests/sample_test.cpp ops/sample.cpp ops/sample_order.cpp /tmp/sample_*.o -o /tmp/sample_test
//   /tmp/sample_test               # add "bench" for timings
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "../ops/sample.h"

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

std::vector<Answer> run(Simd simd, const std::vector<Case>& cases, int32_t columns) {
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
    sample_row(simd, batch.state, static_cast<int32_t>(r), logits.data(), result, scratch.data());
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
  const auto words = philox({token / 4, static_cast<uint32_t>(c.position), c.sample_index, 0x4C474154},
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
  const auto weight = [&](int32_t t) { return std::exp(static_cast<double>(z[static_cast<size_t>(t)])); };
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
    const double score = z[static_cast<size_t>(t)] + gumbel_of(word_of(c, static_cast<uint32_t>(t)));
    if (score > most) {
      best = {t, score - most};
      most = score;
    } else {
      best.lead = std::min(best.lead, most - score);
    }
  }
  return best;
}

void check(Simd simd, const Case& c, const std::string& what) {
  const int32_t token = run_one(simd, c).token;
  const Choice choice = define(c, 0);
  if (token == choice.token || choice.lead < 1e-5) return;
  const bool at_limit = token == define(c, 3e-7).token || token == define(c, -3e-7).token;
  expect(at_limit, what + ": token " + std::to_string(token) + ", not " +
                       std::to_string(choice.token));
}

// ---- Cases ----------------------------------------------------------------------------------

std::vector<float> normal_logits(std::mt19937& random, int32_t vocab, float spread) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& x : logits) x = normal(random);
  return logits;
}

// Logits with many ties.
std::vector<float> coarse_logits(std::mt19937& random, int32_t vocab) {
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& x : logits) x = 0.5f * static_cast<float>(random() % 12);
  return logits;
}

template <typename T>
T one_of(std::mt19937& random, std::initializer_list<T> values) {
  return *(values.begin() + random() % values.size());
}

void add_random_edits(std::mt19937& random, Case& c) {
  const auto vocab = static_cast<uint32_t>(c.logits.size());
  for (uint32_t i = random() % 4; i > 0; --i) {
    c.bias.push_back({static_cast<int32_t>(random() % vocab), one_of(random, {-kInf, 3.0f, -2.0f})});
  }
  for (uint32_t id = random() % 50; id < vocab; id += 1 + random() % 97) {
    c.seen.push_back({static_cast<int32_t>(id), static_cast<int32_t>(random() % 3)});
  }
  c.presence = one_of(random, {0.0f, 0.7f});
  c.frequency = one_of(random, {0.0f, 0.3f});
  c.repetition = one_of(random, {1.0f, 1.3f, 0.8f});
  if (random() % 2 == 0) return;
  for (uint32_t w = 0; w < (vocab + 31) / 32; ++w) c.mask.push_back(static_cast<uint32_t>(random()));
}

Case random_case(std::mt19937& random) {
  Case c;
  const int32_t vocab = one_of(random, {1, 5, 16, 31, 127, 128, 129, 500, 1000, 5003, 40000});
  c.logits = random() % 3 == 0 ? coarse_logits(random, vocab)
                               : normal_logits(random, vocab, one_of(random, {0.1f, 2.0f, 8.0f}));
  c.temperature = one_of(random, {0.0f, 0.2f, 1.0f, 1.7f});
  c.top_k = one_of(random, {0, 0, 1, 3, 40, 333, 100000});
  c.top_p = one_of(random, {1.0f, 0.0f, 0.1f, 0.5f, 0.9f, 0.999f, 0.9999999f});
  c.min_p = one_of(random, {0.0f, 0.0f, 0.01f, 0.3f, 1.0f});
  c.seed = random() * (uint64_t{1} << 32) + random();
  c.sample_index = static_cast<uint32_t>(random() % 5);
  c.position = static_cast<int32_t>(random() % 100000);
  if (random() % 2 == 0) add_random_edits(random, c);
  return c;
}

void check_random(const std::string& name, Simd simd) {
  std::mt19937 random(5);
  for (int i = 0; i < 1500; ++i) check(simd, random_case(random), name + " case " + std::to_string(i));
}

void check_noise(const std::string& name, Simd simd) {
  Case c;
  c.seed = 0x123456789abcdef0;
  c.sample_index = 3;
  c.position = 70001;
  const int32_t count = 20011;
  std::vector<uint32_t> words(count);
  std::vector<float> noise(count);
  sample_noise(simd, c.seed, c.sample_index, c.position, count, words.data(), noise.data());
  double worst = 0;
  for (uint32_t t = 0; t < count; ++t) {
    expect(words[t] == word_of(c, t), name + ": Philox word of token " + std::to_string(t));
    const double wanted = gumbel_of(word_of(c, t));
    worst = std::max(worst, std::fabs(noise[t] - wanted) / std::max(1.0, std::fabs(wanted)));
  }
  expect(worst < 1e-6, name + ": Gumbel noise off by " + std::to_string(worst));
}

// The published known-answer vectors of Random123 for philox4x32-10.
void check_published_vectors() {
  const std::array<uint32_t, 4> zeros = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const std::array<uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  expect(philox({0, 0, 0, 0}, 0, 0) == zeros, "Philox of zeros");
  expect(philox({~0u, ~0u, ~0u, ~0u}, ~0u, ~0u) == ones, "Philox of ones");
}

void check_failures(const std::string& name, Simd simd) {
  for (float temperature : {0.0f, 1.0f}) {
    Case c;
    c.temperature = temperature;
    c.logits.assign(300, -kInf);
    expect(run_one(simd, c).token == -1, name + ": all forbidden");
    c.logits.assign(300, 1.0f);
    c.mask.assign(10, 0);
    expect(run_one(simd, c).token == -1, name + ": all masked");
    c.mask.clear();
    for (int32_t bad : {0, 17, 299}) {
      c.logits.assign(300, 1.0f);
      c.logits[static_cast<size_t>(bad)] = kNan;
      c.num_logprobs = 2;
      const Answer answer = run_one(simd, c);
      expect(answer.token == -1 && std::isnan(answer.logprob), name + ": NaN among the logits");
      c.logits[static_cast<size_t>(bad)] = kInf;
      expect(run_one(simd, c).token == -1, name + ": an infinite logit");
    }
  }
}

void check_ties(const std::string& name, Simd simd) {
  Case c;
  c.logits.assign(1000, 2.0f);
  c.temperature = 0;
  expect(run_one(simd, c).token == 0, name + ": greedy takes the lowest of equal ids");
  c.logits[0] = 1.0f;
  expect(run_one(simd, c).token == 1, name + ": greedy takes the lowest of the largest");
  c.temperature = 1e-30f;
  const int32_t token = run_one(simd, c).token;
  expect(token >= 1, name + ": a tiny temperature chooses among the largest");
  c.temperature = 1;
  c.top_k = 3;
  for (c.position = 0; c.position < 50; ++c.position) {
    const int32_t kept = run_one(simd, c).token;
    expect(kept >= 1 && kept <= 3, name + ": top-k keeps the lowest of equal ids");
  }
}

void check_logprobs(const std::string& name, Simd simd) {
  std::mt19937 random(8);
  for (int32_t vocab : {3, 130, 5003}) {
    Case c;
    c.logits = vocab == 130 ? coarse_logits(random, vocab) : normal_logits(random, vocab, 3);
    c.logits[1] = -kInf;
    c.bias = {{0, 5.0f}};  // must not show
    c.num_logprobs = 5;
    const Answer answer = run(simd, {c}, 7)[0];
    double total = 0;
    for (float x : c.logits) total += std::exp(static_cast<double>(x));
    const auto wanted = [&](int32_t t) { return c.logits[static_cast<size_t>(t)] - std::log(total); };
    const auto close = [&](float got, int32_t t) {
      return got == wanted(t) || std::fabs(got - wanted(t)) < 2e-6 * (1 + std::fabs(wanted(t)));
    };
    expect(close(answer.logprob, answer.token), name + ": log-probability of the chosen token");
    const std::vector<int32_t> order = descending(c.logits);
    for (size_t i = 0; i < 7; ++i) {
      const bool given = i < 5 && i < order.size();
      expect(answer.top_ids[i] == (given ? order[i] : -1), name + ": most likely ids");
      expect(given ? close(answer.top_logprobs[i], order[i]) : std::isnan(answer.top_logprobs[i]),
             name + ": their log-probabilities");
    }
    c.num_logprobs = -1;
    expect(std::isnan(run_one(simd, c).logprob), name + ": no log-probability unasked");
    c.num_logprobs = 0;
    expect(close(run_one(simd, c).logprob, answer.token), name + ": with no alternatives");
  }
}

// Rows do not see each other, nor what the scratch held before.
void check_neighbours(const std::string& name, Simd simd) {
  std::mt19937 random(11);
  std::vector<Case> cases;
  for (int i = 0; i < 40; ++i) {
    Case c = random_case(random);
    c.logits = normal_logits(random, 1000, 3);
    c.bias.clear();
    c.seen.clear();
    if (!c.mask.empty()) c.mask.assign(32, 0x12345678);
    c.num_logprobs = 3;
    cases.push_back(c);
  }
  const std::vector<Answer> together = run(simd, cases, 3);
  for (size_t i = 0; i < cases.size(); ++i) {
    const Answer alone = run_one(simd, cases[i]);
    expect(alone.token == together[i].token && alone.top_ids == together[i].top_ids &&
               std::memcmp(&alone.logprob, &together[i].logprob, 4) == 0,
           name + ": a neighbour changed a row");
  }
}

// Frequencies follow the softmax: a chi-square test with 7 degrees of freedom.
void check_distribution(const std::string& name, Simd simd) {
  Case c;
  c.logits = {0.0f, 1.0f, 2.0f, -1.0f, 0.5f, 1.5f, 0.2f, -0.3f};
  std::array<double, 8> seen{};
  const int draws = 20000;
  for (c.position = 0; c.position < draws; ++c.position) {
    seen[static_cast<size_t>(run_one(simd, c).token)] += 1;
  }
  double total = 0, chi = 0;
  for (float x : c.logits) total += std::exp(static_cast<double>(x));
  for (size_t t = 0; t < 8; ++t) {
    const double wanted = draws * std::exp(static_cast<double>(c.logits[t])) / total;
    chi += (seen[t] - wanted) * (seen[t] - wanted) / wanted;
  }
  expect(chi < 24.3, name + ": chi-square " + std::to_string(chi));  // p = 0.001
}

void bench(const std::string& name, Simd simd) {
  std::mt19937 random(1);
  for (int32_t vocab : {49152, 262144}) {
    Case greedy;
    greedy.logits = normal_logits(random, vocab, 2.5f);
    for (int i = 0; i < 20; ++i) greedy.logits[random() % greedy.logits.size()] += 12.0f;
    greedy.temperature = 0;
    Case plain = greedy, top_p = greedy, top_k = greedy, flat = greedy, logprobs = greedy;
    plain.temperature = top_p.temperature = top_k.temperature = 1;
    top_p.top_p = 0.95f;
    top_k.top_k = 50;
    top_k.top_p = 0.95f;
    flat.temperature = 5;
    flat.top_p = 0.95f;
    logprobs.num_logprobs = 5;
    const std::pair<const char*, Case> cases[] = {{"greedy", greedy},   {"plain", plain},
                                                  {"top-p", top_p},     {"top-k+p", top_k},
                                                  {"flat top-p", flat}, {"logprobs", logprobs}};
    std::printf("%-8s vocab %6d:", name.c_str(), vocab);
    for (const auto& [what, c] : cases) {
      Batch batch({c}, 5);
      int32_t token, top_ids[5];
      float logprob, top_logprobs[5];
      std::vector<uint8_t> scratch(static_cast<size_t>(sample_scratch_bytes(vocab)));
      double best = 1e9;
      for (int i = 0; i < 15; ++i) {
        const auto start = std::chrono::steady_clock::now();
        sample_row(simd, batch.state, 0, c.logits.data(), {&token, &logprob, top_ids, top_logprobs},
                   scratch.data());
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        best = std::min(best, took.count());
      }
      std::printf(" %s %.0f us,", what, best * 1e6);
    }
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, Simd>> levels = {{"portable", Simd::Portable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) levels.push_back({"avx2", Simd::Avx2});
  if (__builtin_cpu_supports("avx512bw")) levels.push_back({"avx512", Simd::Avx512});
#endif
  const bool timing = argc > 1 && std::string(argv[1]) == "bench";
  check_published_vectors();
  for (const auto& [name, simd] : levels) {
    if (timing) {
      bench(name, simd);
      continue;
    }
    check_noise(name, simd);
    check_random(name, simd);
    check_failures(name, simd);
    check_ties(name, simd);
    check_logprobs(name, simd);
    check_neighbours(name, simd);
    check_distribution(name, simd);
  }
  std::printf(failures == 0 ? "sample: all passed\n" : "sample: %d FAILED\n", failures);
  return failures == 0 ? 0 : 1;
}
