// Random sequences, every way to play them through attention, and the definition in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../ops/attention.h"

using namespace legato;

namespace {

int failures = 0;

struct Shape {
  int heads, kv_heads, head_dim, block_size, window;
  float soft_cap;
  KVType type;
};

const char* name_of(KVType type) {
  switch (type) {
    case KVType::F32: return "f32";
    case KVType::F16: return "f16";
    case KVType::BF16: return "bf16";
    case KVType::Int8: return "int8";
  }
  return "";
}

std::string text(const Shape& s) {
  return "heads " + std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) + " dim " +
         std::to_string(s.head_dim) + " block " + std::to_string(s.block_size) + " window " +
         std::to_string(s.window) + " cap " + std::to_string(s.soft_cap) +
         " " + name_of(s.type);
}

void expect(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

// Tokens of several sequences: q, k, v for every position.
struct Tokens {
  std::vector<int> lengths;
  std::vector<std::vector<float>> q, k, v;  // [sequence][length * heads * head_dim]
};

std::vector<float> noise(std::mt19937& random, size_t count, float size) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

Tokens make_tokens(std::mt19937& random, const Shape& shape, std::vector<int> lengths) {
  Tokens tokens;
  tokens.lengths = lengths;
  for (int length : lengths) {
    const auto n = static_cast<size_t>(length * shape.head_dim);
    tokens.q.push_back(noise(random, n * static_cast<size_t>(shape.heads), 1.5f));
    tokens.k.push_back(noise(random, n * static_cast<size_t>(shape.kv_heads), 1.0f));
    tokens.v.push_back(noise(random, n * static_cast<size_t>(shape.kv_heads), 1.0f));
  }
  return tokens;
}

float as_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// A key or value as the cache keeps it.
void round_vector(KVType type, float* x, int dim) {
  float most = 0;
  for (int d = 0; d < dim; ++d) most = std::max(most, std::fabs(x[d]));
  const float levels = 127.0f / most;
  for (int d = 0; d < dim; ++d) {
    if (type == KVType::F16) x[d] = static_cast<float>(static_cast<_Float16>(x[d]));
    if (type == KVType::BF16) x[d] = as_bf16(x[d]);
    if (type == KVType::Int8) x[d] = std::nearbyint(x[d] * levels) * (most / 127.0f);
  }
}

Tokens as_stored(Tokens tokens, const Shape& shape) {
  for (auto* side : {&tokens.k, &tokens.v}) {
    for (std::vector<float>& vectors : *side) {
      for (size_t i = 0; i < vectors.size(); i += static_cast<size_t>(shape.head_dim)) {
        round_vector(shape.type, &vectors[i], shape.head_dim);
      }
    }
  }
  return tokens;
}

// A pool whose unused memory is NaN, with a shuffled block table. Blocks behind the window of all
// rows still to come are -1.
struct Cache {
  const Shape shape;
  std::vector<uint8_t> memory;
  std::vector<int32_t> table;
  int blocks_each;
  KVView view;

  Cache(const Shape& s, const Tokens& tokens, std::mt19937& random) : shape(s) {
    const int longest = *std::max_element(tokens.lengths.begin(), tokens.lengths.end());
    blocks_each = (longest + s.block_size - 1) / s.block_size + 1;
    const int total = blocks_each * static_cast<int>(tokens.lengths.size());
    const int64_t bytes = kv_layer_bytes(s.block_size, s.kv_heads, s.head_dim, s.type);
    memory.assign(static_cast<size_t>(bytes * total), 0xff);
    table.resize(static_cast<size_t>(total));
    for (int i = 0; i < total; ++i) table[static_cast<size_t>(i)] = i;
    std::shuffle(table.begin(), table.end(), random);
    view = {memory.data(), bytes, s.block_size, s.kv_heads, s.head_dim, s.type};
  }
};

// One step: sequence s takes its rows [done[s], done[s] + counts[s]).
struct Step {
  std::vector<int32_t> starts{0}, lengths, table;
  std::vector<float> q, k, v, out;
};

void append_rows(std::vector<float>& to, const std::vector<float>& from, int first, int count,
                 int width) {
  to.insert(to.end(), from.begin() + static_cast<long>(first) * width,
            from.begin() + static_cast<long>(first + count) * width);
}

Step make_step(const Tokens& tokens, const Cache& cache, const std::vector<int>& sequences,
               const std::vector<int>& done, const std::vector<int>& counts) {
  const Shape& s = cache.shape;
  Step step;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto n = static_cast<size_t>(sequences[i]);
    append_rows(step.q, tokens.q[n], done[i], counts[i], s.heads * s.head_dim);
    append_rows(step.k, tokens.k[n], done[i], counts[i], s.kv_heads * s.head_dim);
    append_rows(step.v, tokens.v[n], done[i], counts[i], s.kv_heads * s.head_dim);
    step.starts.push_back(step.starts.back() + counts[i]);
    step.lengths.push_back(done[i] + counts[i]);
    const int lowest = s.window > 0 ? std::max(0, done[i] - s.window + 1) : 0;
    for (int b = 0; b < cache.blocks_each; ++b) {
      const bool seen = b >= lowest / s.block_size &&
                        b <= (done[i] + counts[i] - 1) / s.block_size;
      step.table.push_back(
          seen ? cache.table[n * static_cast<size_t>(cache.blocks_each) + static_cast<size_t>(b)]
               : -1);
    }
  }
  step.out.assign(step.q.size(), std::numeric_limits<float>::quiet_NaN());
  return step;
}

AttentionCall make_call(const Cache& cache, Step& step) {
  const Shape& s = cache.shape;
  AttentionCall call{};
  call.kv = cache.view;
  call.batch = {static_cast<int32_t>(step.lengths.size()), step.starts.data(), step.lengths.data(),
                step.table.data(), cache.blocks_each};
  call.heads = s.heads;
  call.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  call.soft_cap = s.soft_cap;
  call.window = s.window;
  call.q = step.q.data();
  call.q_stride = s.heads * s.head_dim;
  call.out = step.out.data();
  call.out_stride = s.heads * s.head_dim;
  return call;
}

void run_units(Simd simd, const AttentionCall& call) {
  const AttentionPlan plan = plan_attention(call);
  std::vector<uint8_t> scratch(static_cast<size_t>(plan.scratch_bytes) + 64, 0xff);
  uint8_t* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
  for (int i = plan.units - 1; i >= 0; --i) attention_unit(simd, call, plan, i, i - 1, aligned);
  for (int i = 0; i < plan.merges; ++i) attention_merge(simd, call, plan, i, aligned);
}

// Append and attend; returns the results, [rows of the step][heads * head_dim].
std::vector<float> run_step(Simd simd, Cache& cache, Step& step, std::mt19937& random) {
  const Shape& s = cache.shape;
  const AttentionCall call = make_call(cache, step);
  for (int i = 0; i < call.batch.sequences; ++i) {
    const int rows = step.starts[static_cast<size_t>(i) + 1] - step.starts[static_cast<size_t>(i)];
    for (int first = 0; first < rows;) {
      const int count = std::min(rows - first, 1 + static_cast<int>(random() % 40));
      kv_append(simd, call.kv, call.batch, i, first, count, step.k.data(),
                s.kv_heads * s.head_dim, step.v.data(), s.kv_heads * s.head_dim);
      first += count;
    }
  }
  run_units(simd, call);
  return step.out;
}

using Results = std::vector<std::vector<float>>;  // [sequence][length * heads * head_dim]

// Play all sequences in chunks of the given sizes (in turn); `together`: in one batch.
Results play(Simd simd, const Shape& shape, const Tokens& tokens, const std::vector<int>& chunks,
             bool together, unsigned seed) {
  std::mt19937 random(seed);
  Cache cache(shape, tokens, random);
  Results results(tokens.lengths.size());
  std::vector<int> done(tokens.lengths.size(), 0);
  for (size_t turn = 0;; ++turn) {
    std::vector<int> sequences, from, counts;
    for (size_t s = 0; s < done.size(); ++s) {
      const int left = tokens.lengths[s] - done[s];
      if (left == 0 || (!together && !sequences.empty())) continue;
      sequences.push_back(static_cast<int>(s));
      from.push_back(done[s]);
      counts.push_back(std::min(left, chunks[(turn + s) % chunks.size()]));
    }
    if (sequences.empty()) return results;
    Step step = make_step(tokens, cache, sequences, from, counts);
    const std::vector<float> out = run_step(simd, cache, step, random);
    const int width = shape.heads * shape.head_dim;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto s = static_cast<size_t>(sequences[i]);
      append_rows(results[s], out, step.starts[i], counts[i], width);
      done[s] += counts[i];
    }
  }
}

double define_score(const Shape& shape, const float* q, const float* k) {
  double dot = 0;
  for (int d = 0; d < shape.head_dim; ++d) dot += static_cast<double>(q[d]) * k[d];
  const double s = dot / std::sqrt(static_cast<double>(shape.head_dim));
  return shape.soft_cap > 0 ? shape.soft_cap * std::tanh(s / shape.soft_cap) : s;
}

// The definition, of one row and head, in double.
std::vector<double> define(const Shape& shape, const Tokens& tokens, size_t s, int row, int head) {
  const int dim = shape.head_dim;
  const int kv_head = head / (shape.heads / shape.kv_heads);
  const float* q = &tokens.q[s][static_cast<size_t>((row * shape.heads + head) * dim)];
  const int first = shape.window > 0 ? std::max(0, row - shape.window + 1) : 0;
  std::vector<double> scores;
  for (int t = first; t <= row; ++t) {
    const auto offset = static_cast<size_t>((t * shape.kv_heads + kv_head) * dim);
    scores.push_back(define_score(shape, q, &tokens.k[s][offset]));
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  std::vector<double> out(static_cast<size_t>(dim), 0.0);
  for (int t = first; t <= row; ++t) {
    const double p = std::exp(scores[static_cast<size_t>(t - first)] - max);
    sum += p;
    const float* v = &tokens.v[s][static_cast<size_t>((t * shape.kv_heads + kv_head) * dim)];
    for (int d = 0; d < dim; ++d) out[static_cast<size_t>(d)] += p * v[d];
  }
  for (double& x : out) x /= sum;
  return out;
}

}  // namespace
