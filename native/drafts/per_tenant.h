// One memory for each of the tenants that were here last; nothing is shared between them.
// legato/speculative/tenants.py defines it.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace legato {

// Memories by tenant, each made of the most tokens that it keeps. There are at most `kMostTenants`:
// whoever was away longest is forgotten.
template <class Memory>
class PerTenant {
 public:
  static constexpr size_t kMostTenants = 64;

  explicit PerTenant(size_t max_tokens) : max_tokens_(max_tokens) {}

  // The memory of `tenant`, a new one where it has none; null where nothing is to be kept.
  std::shared_ptr<Memory> of(const std::string& tenant) {
    if (max_tokens_ == 0) return nullptr;
    const auto known = std::find_if(memories_.begin(), memories_.end(),
                                    [&](const Entry& entry) { return entry.first == tenant; });
    if (known != memories_.end()) {
      std::rotate(known, known + 1, memories_.end());
    } else {
      memories_.emplace_back(tenant, std::make_shared<Memory>(max_tokens_));
      if (memories_.size() > kMostTenants) memories_.erase(memories_.begin());
    }
    return memories_.back().second;
  }

 private:
  using Entry = std::pair<std::string, std::shared_ptr<Memory>>;

  size_t max_tokens_;
  std::vector<Entry> memories_;  // whoever was here last is last
};

}  // namespace legato
