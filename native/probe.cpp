#include "probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "arena.h"
#include "probe_kernels.h"
#include "simd.h"
#include "thread_pool.h"

namespace legato {
namespace {

constexpr int kPasses = 5;
constexpr int64_t kChunk = int64_t{1} << 20;
constexpr int64_t kPeakRounds = 4'000'000;  // about 10 ms a pass

using Seconds = std::chrono::duration<double>;

// The shortest time of a few runs of `share` by all threads.
template <class Pass>
double best_time(ThreadPool& pool, Pass&& pass) {
  double best = 1e9;
  for (int i = 0; i < kPasses; ++i) {
    const auto start = std::chrono::steady_clock::now();
    pool.run(pass);
    best = std::min(best, Seconds(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

PeakKernel peak_kernel() {
  if (supports(Simd::Avx512)) return int8_peak_avx512;
  return supports(Simd::Avx2) ? int8_peak_avx2 : int8_peak_portable;
}

uint64_t sum(const uint8_t* data, int64_t bytes) {
  uint64_t lanes[8] = {};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    for (int64_t lane = 0; lane < 8; ++lane) {
      uint64_t word;
      std::memcpy(&word, data + i + 8 * lane, sizeof word);
      lanes[lane] += word;
    }
  }
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7];
}

}  // namespace

double measure_bandwidth(int threads, int64_t bytes) {
  ThreadPool pool(threads);
  const int64_t chunks = std::max<int64_t>(1, bytes / kChunk);
  const Arena arena(chunks * kChunk);
  std::atomic<uint64_t> sink{0};
  pool.run([&](Worker& worker) {  // a page that was never written is read from one zero page
    worker.share(chunks, [&](int64_t i) { std::memset(arena.data() + i * kChunk, 1, kChunk); });
  });
  const double time = best_time(pool, [&](Worker& worker) {
    worker.share(chunks, [&](int64_t i) {
      sink.fetch_add(sum(arena.data() + i * kChunk, kChunk), std::memory_order_relaxed);
    });
  });
  return static_cast<double>(chunks * kChunk) / time * 1e-9;
}

double measure_int8_peak(int threads) {
  ThreadPool pool(threads);
  const PeakKernel kernel = peak_kernel();
  std::atomic<int64_t> operations{0};
  std::atomic<int32_t> sink{0};
  const double time = best_time(pool, [&](Worker& worker) {
    worker.share(worker.threads(), [&](int64_t) {
      int32_t result = 0;
      const int64_t done = kernel(kPeakRounds, &result);
      sink.fetch_add(result, std::memory_order_relaxed);
      operations.store(done, std::memory_order_relaxed);
    });
  });
  return static_cast<double>(operations.load()) * threads / time * 1e-9;
}

}  // namespace legato
