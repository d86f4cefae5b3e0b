// Speed of the linear kernels: GB/s of weights and GMAC/s for every format, m and shape.
//
//   linear_bench [threads] [format name or all] [instruction set: 0 portable, 1 avx2, 2 avx512] [m ...]
//
// Built as CMakeLists.txt says. Weights are copied until they exceed the caches, so that small m reads
// memory. Compare only within one run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../ops/linear.h"
#include "../simd.h"
#include "file_blocks.h"

namespace legato {
namespace {

constexpr int64_t kBeyondCache = 96 << 20;  // bytes of weights that one pass reads
constexpr int kPasses = 7;                  // the fastest counts

struct Shape {
  int64_t rows, columns;
};

uint8_t* aligned(int64_t bytes) {
  return static_cast<uint8_t*>(std::aligned_alloc(1 << 21, (bytes + (1 << 21) - 1) >> 21 << 21));
}

struct Bench {
  Bench(Simd path, Format format, Shape shape, int64_t m, int thread_count)
      : simd(path),
        weight{format, shape.rows, shape.columns, nullptr},
        rows(m),
        threads(thread_count),
        bytes(packed_bytes(format, shape.rows, shape.columns)),
        x(m * shape.columns),
        out(m * shape.rows) {
    const int64_t useful = 3'000'000'000 / (m * shape.rows * shape.columns) + 1;
    copies = std::clamp<int64_t>(kBeyondCache / bytes, 1, useful);
    memory = aligned(copies * bytes);
    const File file = random_file(format, shape.rows, shape.columns);
    for (int64_t copy = 0; copy < copies; ++copy) {
      pack_panels(format, file.bytes.data(), shape.rows, shape.columns, memory + copy * bytes, 0,
                  weight.panels());
    }
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random) * (random() % 160 == 0 ? 8.0f : 1.0f);
    quantised = aligned(quantised_bytes(m, shape.columns));
  }
  Bench(const Bench&) = delete;
  ~Bench() {
    std::free(memory);
    std::free(quantised);
  }

  void quantise(Precision wanted) {
    precision = wanted;
    for (int64_t row = 0; row < rows; ++row) {
      quantise_row(simd, precision, x.data() + row * weight.columns, row, 0, weight.columns,
                   rows, weight.columns, quantised);
    }
  }

  void part(int thread) {
    const int64_t panels = weight.panels();
    for (int64_t copy = 0; copy < copies; ++copy) {
      PackedWeight one = weight;
      one.data = memory + copy * bytes;
      const LinearCall call{&one, quantised, precision,  x.data(),   weight.columns,
                            rows, nullptr,   nullptr,    out.data(), weight.rows};
      linear(simd, call, panels * thread / threads, panels * (thread + 1) / threads);
    }
  }

  double seconds() {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) {
      others.emplace_back([this, thread] { part(thread); });
    }
    part(0);
    for (std::thread& other : others) other.join();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  double best() {
    double least = seconds();
    for (int pass = 1; pass < kPasses; ++pass) least = std::min(least, seconds());
    return least / static_cast<double>(copies);
  }

  Simd simd;
  PackedWeight weight;
  int64_t rows;
  int threads;
  int64_t bytes, copies = 0;
  std::vector<float> x, out;
  uint8_t* memory = nullptr;
  uint8_t* quantised = nullptr;
  Precision precision = Precision::Balanced;
};

void measure(Simd simd, Format format, Shape shape, int64_t m, int threads) {
  Bench bench(simd, format, shape, m, threads);
  const auto line = [&](const char* name) {
    const double time = bench.best();
    const double macs = static_cast<double>(m * shape.rows * shape.columns);
    std::printf("%-5s %6ld x %-5ld m %4ld %-9s %8.1f us %6.1f GB/s %6.1f GMAC/s\n",
                name_of(format).c_str(), static_cast<long>(shape.rows),
                static_cast<long>(shape.columns), static_cast<long>(m), name, time * 1e6,
                static_cast<double>(bench.bytes) / time / 1e9, macs / time / 1e9);
  };
  if (!is_block_format(format)) return line("-");
  bench.quantise(Precision::Fast);
  line("fast");
  bench.quantise(Precision::Balanced);
  line("balanced");
  bench.quantise(Precision::Exact);
  line("exact");
}

}  // namespace
}  // namespace legato

int main(int count, char** arguments) {
  using namespace legato;
  const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
  const std::string wanted = count > 2 ? arguments[2] : "all";
  std::vector<int64_t> sizes;
  const Simd simd = count > 3 ? Simd(std::atoi(arguments[3])) : best_simd();
  for (int i = 4; i < count; ++i) sizes.push_back(std::atoi(arguments[i]));
  if (sizes.empty()) sizes = {1, 4, 8, 512};
  for (Format format : kFormats) {
    if (wanted != "all" && wanted != name_of(format)) continue;
    std::vector<Shape> shapes = {{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
    if (is_k_quant(format)) shapes = {{1536, 512}, {512, 1536}};
    for (Shape shape : shapes) {
      for (int64_t m : sizes) {
        if (m * shape.rows < 20'000'000) measure(simd, format, shape, m, threads);
      }
    }
  }
  return 0;
}
