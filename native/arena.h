// One stretch of zeroed memory on 2 MB pages, where the system grants them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace legato {

class Arena {
 public:
  Arena() = default;
  explicit Arena(int64_t bytes) { reserve(bytes); }
  ~Arena() { release(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Make room for `bytes`. Contents are lost when it grows. Throws std::bad_alloc.
  void reserve(int64_t bytes);
  void release();

  uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
  uint8_t* mapping_ = nullptr;
  size_t mapped_ = 0;
};

}  // namespace legato
