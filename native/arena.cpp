#include "arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace legato {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t physical_memory() {
  return int64_t{sysconf(_SC_PHYS_PAGES)} * int64_t{sysconf(_SC_PAGESIZE)};
}

}  // namespace

void Arena::reserve(int64_t bytes) {
  if (bytes <= size_) return;
  // An overcommitting system grants more than it has and kills the process later.
  if (bytes > physical_memory()) throw std::bad_alloc();
  release();
  const int64_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  const size_t length = static_cast<size_t>(rounded + kHugePage);
  void* mapping = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<uint8_t*>(mapping);
  mapped_ = length;
  const auto address = reinterpret_cast<uintptr_t>(mapping_);
  data_ = mapping_ + (kHugePage - address % kHugePage) % kHugePage;
  size_ = rounded;
  madvise(data_, static_cast<size_t>(rounded), MADV_HUGEPAGE);  // a hint; refusal changes nothing
}

void Arena::release() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
  mapping_ = data_ = nullptr;
  mapped_ = 0;
  size_ = 0;
}

}  // namespace legato
