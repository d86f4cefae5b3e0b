// Attention against a double-precision definition, and its bits across every way to cut a batch.
//
//   mkdir -p build/native && cd build/native && ops=../../native/ops
//   gxx="g++ -std=c++20 -O3 -ffp-contract=off"    # or also -fsanitize=address,undefined
//   $gxx -c -mavx512f -mavx512bw -mavx512vl -mavx512dq $ops/attention_avx512.cpp
//   $gxx -c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 $ops/attention_avx512_bf16.cpp
//   $gxx -c -mavx2 -mfma -mf16c $ops/attention_avx2.cpp
//   $gxx -c -Wno-psabi $ops/attention_portable.cpp $ops/attention.cpp ../../native/tests/attention_test.cpp
//   $gxx attention*.o -o attention_test && ./attention_test    # with the argument "bench": timings
#include <sys/mman.h>

#include <chrono>

#include "attention_cases.h"

namespace {

// Of results against the definition over what the cache holds. f32 sums of ~1000 terms: 1e-5.
// Queries and weights of 16 bits: 2^-16 of the largest, in scores below 8 and values below 5.
// Queries and weights rounded to bf16, each by up to 2^-8 of itself, independently.
double tolerance_of(Simd simd, const Shape& shape) {
  const std::string products = attention_products(simd, shape.type);
  return products == "bf16" ? 2e-2 : products == "int16" ? 5e-4 : 1e-5;
}

void check_definition(const std::string& name, Simd simd, const Shape& shape, const Tokens& tokens,
                      const Results& results) {
  const double tolerance = tolerance_of(simd, shape);
  const Tokens stored = as_stored(tokens, shape);
  double worst = 0;
  for (size_t s = 0; s < results.size(); ++s) {
    for (int row = 0; row < tokens.lengths[s]; row += 1 + row / 8) {
      for (int head = 0; head < shape.heads; ++head) {
        const auto wanted = define(shape, stored, s, row, head);
        const auto offset = static_cast<size_t>((row * shape.heads + head) * shape.head_dim);
        for (size_t d = 0; d < wanted.size(); ++d) {
          const double error = std::fabs(results[s][offset + d] - wanted[d]);
          worst = error <= worst ? worst : error;  // NaN wins
        }
      }
    }
  }
  expect(worst < tolerance, name + ": off by " + std::to_string(worst) + ", " + text(shape));
}

bool same_bits(const Results& a, const Results& b) {
  for (size_t s = 0; s < a.size(); ++s) {
    if (a[s].size() != b[s].size()) return false;
    if (std::memcmp(a[s].data(), b[s].data(), a[s].size() * sizeof(float)) != 0) return false;
  }
  return true;
}

void check_shape(const std::string& name, Simd simd, const Shape& shape, std::vector<int> lengths,
                 unsigned seed) {
  std::mt19937 random(seed);
  const Tokens tokens = make_tokens(random, shape, lengths);
  const int whole = 1 << 20;
  const Results base = play(simd, shape, tokens, {whole}, true, seed);
  check_definition(name, simd, shape, tokens, base);
  const std::string where = name + ", " + text(shape);
  expect(same_bits(base, play(simd, shape, tokens, {whole}, false, seed + 1)),
         "alone differs from batch: " + where);
  expect(same_bits(base, play(simd, shape, tokens, {1}, true, seed + 2)),
         "token by token differs from whole: " + where);
  expect(same_bits(base, play(simd, shape, tokens, {37, 1, 5, 64, 300}, true, seed + 3)),
         "chunks differ from whole: " + where);
  expect(same_bits(base, play(simd, shape, tokens, {11, 2, 7}, true, seed + 4)),
         "small chunks differ from whole: " + where);
}

constexpr KVType kTypes[] = {KVType::F32, KVType::F16, KVType::BF16, KVType::Int8};

void check_all(const std::string& name, Simd simd) {
  unsigned seed = 1;
  for (const KVType type : kTypes) {
    for (int dim : {32, 64, 80, 128, 256}) {
      const int window = dim == 64 ? 40 : 0;
      const float cap = dim == 128 ? 5.0f : 0.0f;
      check_shape(name, simd, {3, 1, dim, 16, window, cap, type}, {70, 1, 17}, ++seed);
    }
    for (int group : {1, 3, 4, 8, 25, 30, 100}) {
      check_shape(name, simd, {group * 2, 2, 16, 32, 0, 0, type}, {40, 3}, ++seed);
    }
    check_shape(name, simd, {2, 1, 6, 16, 0, 2.0f, type}, {33}, ++seed);
    check_shape(name, simd, {2, 1, 7, 16, 0, 0, type}, {33}, ++seed);
    check_shape(name, simd, {2, 1, 50, 16, 20, 0, type}, {90}, ++seed);
    check_shape(name, simd, {1, 1, 272, 16, 0, 0, type}, {90}, ++seed);
    check_shape(name, simd, {2, 1, 32, 16, 1, 0, type}, {40}, ++seed);
    check_shape(name, simd, {4, 1, 32, 16, 0, 0, type}, {700, 530, 257}, ++seed);
    check_shape(name, simd, {3, 1, 16, 32, 300, 30.0f, type}, {900, 256}, ++seed);
  }
}

// A NaN query gives NaN, and only in its own row: nothing is hidden, nothing spreads.
void check_nan(const std::string& name, Simd simd, KVType type) {
  const Shape shape{2, 1, 32, 16, 0, 0, type};
  std::mt19937 random(9);
  Tokens tokens = make_tokens(random, shape, {600});
  tokens.q[0][static_cast<size_t>(550 * 64)] = std::numeric_limits<float>::quiet_NaN();
  for (int chunk : {1, 600}) {
    const Results results = play(simd, shape, tokens, {chunk}, true, 3);
    expect(std::isnan(results[0][550 * 64]), name + ": NaN vanished");
    expect(!std::isnan(results[0][550 * 64 + 32]), name + ": NaN reached another head");
    expect(!std::isnan(results[0][551 * 64]), name + ": NaN reached another row");
  }
}

void expect_refusal(Shape shape, const char* what) {
  std::mt19937 random(1);
  const Tokens tokens = make_tokens(random, {2, 1, 16, 16, 0, 0, KVType::F32}, {3});
  Cache cache({2, 1, 16, 16, 0, 0, KVType::F32}, tokens, random);
  Step step = make_step(tokens, cache, {0}, {0}, {3});
  AttentionCall call = make_call(cache, step);
  call.heads = shape.heads;
  call.kv.head_dim = shape.head_dim;
  call.kv.block_size = shape.block_size;
  call.kv.kv_heads = shape.kv_heads;
  bool refused = false;
  try {
    plan_attention(call);
  } catch (const std::exception&) {
    refused = true;
  }
  expect(refused, std::string("not refused: ") + what);
}

double best_seconds(int times, const auto& action) {
  double best = 1e9;
  for (int i = 0; i < times; ++i) {
    const auto start = std::chrono::steady_clock::now();
    action();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count());
  }
  return best;
}

double bytes_of(KVType type) { return type == KVType::F32 ? 4 : type == KVType::Int8 ? 1 : 2; }

void bench(const std::string& name, Simd simd, const Shape& shape, int depth, int rows) {
  std::mt19937 random(1);
  const Tokens tokens = make_tokens(random, shape, {depth + rows});
  Cache cache(shape, tokens, random);
  Step past = make_step(tokens, cache, {0}, {0}, {depth + rows});
  const AttentionCall filled = make_call(cache, past);
  const int width = shape.kv_heads * shape.head_dim;
  const double append = best_seconds(3, [&] {
    kv_append(simd, filled.kv, filled.batch, 0, 0, depth + rows, past.k.data(), width,
              past.v.data(), width);
  });
  Step step = make_step(tokens, cache, {0}, {depth}, {rows});
  const AttentionCall call = make_call(cache, step);
  const double took = best_seconds(rows > 1 ? 5 : 40, [&] { run_units(simd, call); });
  const double seen = (depth + 0.5 * (rows + 1)) * rows;
  const double macs = 2.0 * seen * shape.heads * shape.head_dim;
  const double bytes = 2.0 * width * (depth + rows) * bytes_of(shape.type);
  std::printf("%-8s depth %5d rows %4d %s: %9.1f us, %6.1f GMAC/s, %5.1f GB/s of KV; "
              "append %.2f us a row\n",
              name.c_str(), depth, rows, text(shape).c_str(), took * 1e6, macs / took * 1e-9,
              bytes / took * 1e-9, append * 1e6 / (depth + rows));
}

// Decode over as many layers as leave no cache warm.
void bench_cold(const std::string& name, Simd simd, const Shape& shape, int depth) {
  const int layers = 60;
  std::mt19937 random(1);
  const Tokens tokens = make_tokens(random, shape, {depth});
  const Cache base(shape, tokens, random);
  std::vector<Cache> caches(layers, base);
  const size_t huge = size_t{1} << 21;
  const size_t bytes_each = base.memory.size();
  const size_t total = (bytes_each * layers + huge - 1) / huge * huge;
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(huge, total));
  madvise(memory, total, MADV_HUGEPAGE);
  std::memset(memory, 0, total);
  for (size_t i = 0; i < layers; ++i) caches[i].view.pool = memory + i * bytes_each;
  Step step = make_step(tokens, caches[0], {0}, {depth - 1}, {1});
  const double took = best_seconds(6, [&] {
    for (const Cache& cache : caches) run_units(simd, make_call(cache, step));
  });
  const double bytes = 2.0 * shape.kv_heads * shape.head_dim * depth * layers * bytes_of(shape.type);
  std::printf("%-8s cold decode, depth %d, %s: %.1f us a layer, %.1f GB/s of KV\n", name.c_str(),
              depth, text(shape).c_str(), took * 1e6 / layers, bytes / took * 1e-9);
  std::free(memory);
}

void bench_plan() {
  const int sequences = 256;
  std::vector<int32_t> starts, lengths(sequences, 1500);
  for (int i = 0; i <= sequences; ++i) starts.push_back(i);
  AttentionCall call{};
  call.kv = {nullptr, 0, 16, 8, 128, KVType::F16};
  call.batch = {sequences, starts.data(), lengths.data(), nullptr, 0};
  call.heads = 32;
  std::printf("plan of 256 decode rows: %.1f us\n",
              best_seconds(20, [&] { (void)plan_attention(call); }) * 1e6);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::pair<std::string, Simd>> levels = {{"portable", Simd::Portable}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) levels.push_back({"avx2", Simd::Avx2});
  if (__builtin_cpu_supports("avx512bw")) levels.push_back({"avx512", Simd::Avx512});
#endif
  if (argc > 1 && std::string(argv[1]) == "bench") {
    bench_plan();
    for (const auto& [name, simd] : levels) {
      for (const KVType type : {KVType::F16, KVType::BF16, KVType::Int8}) {
        const Shape smollm2{9, 3, 64, 16, 0, 0, type};
        const Shape gemma{4, 1, 256, 16, 0, 0, type};
        for (const Shape& shape : {smollm2, gemma}) {
          bench(name, simd, shape, 2048, 1);
          bench(name, simd, shape, 2048, 4);
          bench(name, simd, shape, 0, 512);
          bench(name, simd, shape, 1536, 512);
          bench_cold(name, simd, shape, 2048);
        }
      }
    }
    return 0;
  }
  for (const auto& [name, simd] : levels) {
    check_all(name, simd);
    for (const KVType type : kTypes) check_nan(name, simd, type);
  }
  expect_refusal({3, 2, 16, 16, 0, 0, KVType::F32}, "3 heads over 2 KV heads");
  expect_refusal({2, 1, 514, 16, 0, 0, KVType::F32}, "head_dim 514");
  expect_refusal({2, 1, 16, 24, 0, 0, KVType::F32}, "block size 24");
  std::printf(failures == 0 ? "attention: all passed\n" : "attention: %d FAILED\n", failures);
  return failures == 0 ? 0 : 1;
}
