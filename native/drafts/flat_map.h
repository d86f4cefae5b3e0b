// A hash table in one array: a look-up touches one cache line, mostly.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace legato {

// By any key but ~0; keys are never removed. Linear probing (Knuth 1998, The Art of Computer
// Programming 3, section 6.4, algorithm L), at most half full.
template <class Value>
class FlatMap {
 public:
  size_t size() const { return size_; }

  // The value of `key`, null where it has none. Valid until a key is added.
  const Value* find(uint64_t key) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place(key)];
    return slot.key == key ? &slot.value : nullptr;
  }
  Value* find(uint64_t key) {
    return const_cast<Value*>(static_cast<const FlatMap*>(this)->find(key));
  }

  // The value of `key`, `otherwise` where it had none. Valid until the next key is added.
  Value& find_or_add(uint64_t key, const Value& otherwise) {
    reserve(size_ + 1);
    Slot& slot = slots_[place(key)];
    if (slot.key != key) {
      slot = {key, otherwise};
      ++size_;
    }
    return slot.value;
  }

  // Makes room for `size` keys.
  void reserve(size_t size) {
    if (2 * size <= slots_.size()) return;
    std::vector<Slot> before(std::bit_ceil(2 * size < kFewest ? kFewest : 2 * size));
    before.swap(slots_);
    shift_ = std::countl_zero(uint64_t{slots_.size() - 1});
    for (const Slot& slot : before) {
      if (slot.key != kNoKey) slots_[place(slot.key)] = slot;
    }
  }

 private:
  static constexpr uint64_t kNoKey = ~uint64_t{0};
  static constexpr size_t kFewest = 16;

  struct Slot {
    uint64_t key = kNoKey;
    Value value{};
  };

  // Of the slot that has `key`, or else of the free one where it belongs.
  size_t place(uint64_t key) const {
    const size_t last = slots_.size() - 1;
    const uint64_t mixed = (key ^ key >> 32) * 0xFF51AFD7ED558CCD;
    size_t place = static_cast<size_t>(mixed >> shift_);
    while (slots_[place].key != key && slots_[place].key != kNoKey) place = (place + 1) & last;
    return place;
  }

  std::vector<Slot> slots_;  // a power of two of them
  size_t size_ = 0;
  int shift_ = 0;
};

// One key of two numbers.
inline uint64_t key_of(int32_t first, int32_t second) {
  return uint64_t{static_cast<uint32_t>(first)} << 32 | static_cast<uint32_t>(second);
}

}  // namespace legato
