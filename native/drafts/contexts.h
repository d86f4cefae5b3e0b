// The last tokens of a text, and the keys that tables know them by; legato/speculative/ngrams.py
// defines these.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace legato {

constexpr size_t kOrder = 3;  // tokens of the longest context

// Classes of followers by the length of their context, and by how sure they are for that length.
constexpr int32_t kGrades = 8;
constexpr int32_t kFollowerClasses = static_cast<int32_t>(kOrder) * kGrades;

constexpr int64_t kKeyLimit = int64_t{1} << 62;  // keys are below

// Up to `kOrder` tokens.
class Context {
 public:
  // The last tokens of `text`.
  explicit Context(std::span<const int32_t> text) : size_(std::min(kOrder, text.size())) {
    std::copy(text.end() - static_cast<std::ptrdiff_t>(size_), text.end(), tokens_.begin());
  }

  std::span<const int32_t> tokens() const { return {tokens_.data(), size_}; }

  // The text goes on with `token`.
  void push(int32_t token) {
    if (size_ == kOrder) std::shift_left(tokens_.begin(), tokens_.end(), 1);
    size_ = std::min(size_ + 1, kOrder);
    tokens_[size_ - 1] = token;
  }

 private:
  std::array<int32_t, kOrder> tokens_{};
  size_t size_;
};

// Hashes of 62 bits: of the last token of a context, of the last two, ….
class ContextKeys {
 public:
  explicit ContextKeys(std::span<const int32_t> context)
      : size_(std::min(kOrder, context.size())) {
    uint64_t key = 0;
    for (size_t i = 0; i < size_; ++i) {
      key = (key * kFactor + static_cast<uint64_t>(context[context.size() - 1 - i]) + 1) & kMask;
      keys_[i] = key;
    }
  }

  // The shortest context's first.
  std::span<const uint64_t> all() const { return {keys_.data(), size_}; }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  static constexpr uint64_t kMask = kKeyLimit - 1;

  std::array<uint64_t, kOrder> keys_{};
  size_t size_;
};

}  // namespace legato
