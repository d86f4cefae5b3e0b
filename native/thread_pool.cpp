#include "thread_pool.h"

#include <chrono>
#include <utility>

namespace legato {
namespace {

constexpr int kSpinsBeforeYield = 4096;  // a core that another process took comes back by yielding
// Waking a sleeper costs about 50 us: more than what usually lies between two steps.
constexpr auto kSpinBetweenRuns = std::chrono::microseconds(40);
constexpr auto kYieldBetweenRuns = std::chrono::microseconds(300);

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

template <class Ready>
void spin_until(Ready&& ready) {
  for (int spins = 0; !ready(); ++spins) {
    if (spins < kSpinsBeforeYield) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

void Worker::barrier() {
  sense_ ^= 1;
  if (pool_.arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == pool_.size_) {
    pool_.arrived_.store(0, std::memory_order_relaxed);
    for (ThreadPool::Run& run : pool_.runs_) run.taken.store(0, std::memory_order_relaxed);
    pool_.sense_.store(sense_, std::memory_order_release);
    return;
  }
  spin_until([&] { return pool_.sense_.load(std::memory_order_acquire) == sense_; });
}

ThreadPool::ThreadPool(int threads) : size_(threads), runs_(static_cast<size_t>(threads)) {
  for (int index = 1; index < size_; ++index) {
    threads_.emplace_back([this, index] { serve(index); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_ = true;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(const Body& body) {
  body_ = &body;
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  Worker worker(*this, 0);
  worker.sense_ = caller_sense_;
  body(worker);
  worker.barrier();  // nobody still reads `body`
  caller_sense_ = worker.sense_;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void ThreadPool::serve(int index) {
  Worker worker(*this, index);
  uint32_t seen = 0;
  while (true) {
    seen = wait_for_work(seen);
    if (stopping_) return;
    (*body_)(worker);
    worker.barrier();
  }
}

uint32_t ThreadPool::wait_for_work(uint32_t seen) {
  const auto start = std::chrono::steady_clock::now();
  uint32_t epoch = epoch_.load(std::memory_order_acquire);
  while (epoch == seen) {
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > kSpinBetweenRuns + kYieldBetweenRuns) break;
    if (waited < kSpinBetweenRuns) pause();
    else std::this_thread::yield();  // other threads of the process may want this core
    epoch = epoch_.load(std::memory_order_acquire);
  }
  while (epoch == seen) {
    epoch_.wait(seen, std::memory_order_acquire);
    epoch = epoch_.load(std::memory_order_acquire);
  }
  return epoch;
}

void ThreadPool::fail(std::exception_ptr error) {
  const std::lock_guard lock(error_mutex_);
  if (!error_) error_ = std::move(error);
}

}  // namespace legato
