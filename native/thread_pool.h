// A team of threads that runs one body at a time, with cheap barriers inside.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace legato {

class ThreadPool;

// One thread's part in a body. Every worker must make the same sequence of calls to share().
class Worker {
 public:
  Worker(ThreadPool& pool, int index) : pool_(pool), index_(index) {}
  int index() const { return index_; }
  int threads() const;

  // Call `work(item)` once for every item in [0, items); then wait until all are done. Each thread
  // walks its own run of consecutive items, then helps the others with what is left of theirs.
  // An exception of `work` is rethrown by ThreadPool::run.
  template <class Work>
  void share(int64_t items, Work&& work);

  // The item that share(items, ·) gives to this thread first; `items` or more where it has none.
  int64_t first_item(int64_t items) const { return run_start(items, index_); }

 private:
  friend class ThreadPool;
  void barrier();
  int64_t run_start(int64_t items, int thread) const { return items * thread / threads(); }
  template <class Work>
  void take_run(int64_t items, int thread, Work& work);

  ThreadPool& pool_;
  const int index_;
  uint32_t sense_ = 0;
};

class ThreadPool {
 public:
  using Body = std::function<void(Worker&)>;

  explicit ThreadPool(int threads);  // the calling thread of run() is one of them
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Run `body` on every thread; the caller is worker 0. Rethrows the first exception.
  void run(const Body& body);

 private:
  friend class Worker;
  static constexpr size_t kLine = 128;  // a pair of cache lines, which are prefetched together

  void serve(int index);
  uint32_t wait_for_work(uint32_t seen);
  void fail(std::exception_ptr error);

  const int size_;
  const Body* body_ = nullptr;
  bool stopping_ = false;
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
  uint32_t caller_sense_ = 0;
  alignas(kLine) std::atomic<uint32_t> epoch_{0};    // grows with every run
  alignas(kLine) std::atomic<int32_t> arrived_{0};   // workers in the barrier
  alignas(kLine) std::atomic<uint32_t> sense_{0};    // flips when all have arrived
  struct alignas(kLine) Run {
    std::atomic<int64_t> taken{0};  // items of a thread's run that somebody took
  };
  std::vector<Run> runs_;
};

inline int Worker::threads() const { return pool_.size(); }

template <class Work>
void Worker::take_run(int64_t items, int thread, Work& work) {
  const int64_t start = run_start(items, thread), length = run_start(items, thread + 1) - start;
  std::atomic<int64_t>& taken = pool_.runs_[static_cast<size_t>(thread)].taken;
  if (taken.load(std::memory_order_relaxed) >= length) return;
  int64_t item;
  while ((item = taken.fetch_add(1, std::memory_order_relaxed)) < length) work(start + item);
}

template <class Work>
void Worker::share(int64_t items, Work&& work) {
  try {
    for (int i = 0; i < threads(); ++i) take_run(items, (index_ + i) % threads(), work);
  } catch (...) {
    pool_.fail(std::current_exception());
  }
  barrier();
}

}  // namespace legato
