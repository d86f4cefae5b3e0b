// The sampler against a plain definition (sort everything, double precision). With the argument
// "bench" it times the kernels instead.
#include <chrono>

#include "sample_cases.h"

namespace {

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

// Flat distributions, so that the tokens at the filters' limits are chosen often.
void check_limits(const std::string& name, Simd simd) {
  std::mt19937 random(6);
  for (float top_p : {0.3f, 0.5f, 0.9f}) {
    for (float min_p : {0.0f, 0.85f}) {
      Case c;
      c.logits = normal_logits(random, 40, 0.1f);
      c.top_p = top_p;
      c.min_p = min_p;
      c.top_k = min_p > 0 ? 0 : 30;
      for (c.position = 0; c.position < 1000; ++c.position) check(simd, c, name + " at the limit");
    }
  }
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

// Threads that share a row change no bit of the answer.
void check_teams(const std::string& name, Simd simd) {
  std::mt19937 random(13);
  std::vector<Case> cases;
  for (int i = 0; i < 60; ++i) {
    Case c = random_case(random);
    c.logits = normal_logits(random, 20011, one_of(random, {0.1f, 2.0f, 8.0f}));
    c.bias = {{7, 2.0f}, {19000, -kInf}};
    for (auto& [id, count] : c.seen) id %= 20011;
    if (!c.mask.empty()) c.mask.assign(626, 0x12345678);
    c.num_logprobs = 3;
    cases.push_back(c);
  }
  const std::vector<Answer> alone = run(simd, cases, 3);
  for (int threads : {2, 3, 7}) {
    const std::vector<Answer> team = run(simd, cases, 3, threads);
    for (size_t i = 0; i < cases.size(); ++i) {
      expect(alone[i].token == team[i].token && alone[i].top_ids == team[i].top_ids &&
                 std::memcmp(&alone[i].logprob, &team[i].logprob, 4) == 0 &&
                 std::memcmp(alone[i].top_logprobs.data(), team[i].top_logprobs.data(), 12) == 0,
             name + ": " + std::to_string(threads) + " threads changed a row");
    }
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

// Logits as models give them: a wide bell, and a few tokens far above it.
Case typical_case(int32_t vocab) {
  std::mt19937 random(1);
  Case c;
  c.logits = normal_logits(random, vocab, 2.5f);
  for (int i = 0; i < 20; ++i) c.logits[random() % c.logits.size()] += 12.0f;
  return c;
}

std::vector<std::pair<const char*, Case>> timed_cases(int32_t vocab) {
  const Case plain = typical_case(vocab);
  Case greedy = plain, top_p = plain, top_k = plain, flat = plain, min_p = plain, mask = plain,
       logprobs = plain;
  greedy.temperature = logprobs.temperature = 0;
  top_p.temperature = 0.8f;
  top_p.top_p = top_k.top_p = flat.top_p = 0.95f;
  top_k.top_k = 50;
  flat.temperature = 5;
  min_p.min_p = 0.05f;
  mask.mask.assign(static_cast<size_t>(vocab + 31) / 32, 0x10010401);
  logprobs.num_logprobs = 5;
  return {{"greedy", greedy}, {"plain", plain}, {"top-p", top_p}, {"top-k+p", top_k},
          {"flat top-p", flat}, {"min-p", min_p}, {"mask", mask}, {"logprobs", logprobs}};
}

// Median over positions, in microseconds: how often top-p races again depends on the noise.
double time_of(Simd simd, const Case& c, ThreadPool& pool) {
  constexpr int kRounds = 41;
  Batch batch({c}, 5);
  int32_t token, top_ids[5];
  float logprob, top_logprobs[5];
  std::vector<uint8_t> scratch(static_cast<size_t>(sample_scratch_bytes(batch.state.vocab)));
  std::vector<double> times;
  for (batch.position[0] = 0; batch.position[0] < kRounds; ++batch.position[0]) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](Worker& worker) {
      sample_row(simd, batch.state, 0, c.logits.data(), {&token, &logprob, top_ids, top_logprobs},
                 scratch.data(), worker);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    times.push_back(took.count() * 1e6);
  }
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return times[kRounds / 2];
}

void bench(const std::string& name, Simd simd) {
  for (int threads : {1, 2}) {
    ThreadPool pool(threads);
    for (int32_t vocab : {49152, 262144}) {
      std::printf("%-8s %d threads, vocab %6d:", name.c_str(), threads, vocab);
      for (const auto& [what, c] : timed_cases(vocab)) {
        std::printf(" %s %.0f us,", what, time_of(simd, c, pool));
      }
      std::printf("\n");
    }
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
    check_limits(name, simd);
    check_failures(name, simd);
    check_ties(name, simd);
    check_logprobs(name, simd);
    check_neighbours(name, simd);
    check_teams(name, simd);
    check_distribution(name, simd);
  }
  std::printf(failures == 0 ? "sample: all passed\n" : "sample: %d FAILED\n", failures);
  return failures == 0 ? 0 : 1;
}
