// Where the time of a step goes: nanoseconds per instruction, added up over steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "program.h"

namespace legato {

// What one instruction cost since the profile began, and what it has to do at least.
struct InstructionProfile {
  std::string kind;
  Rows rows;             // of its work: token rows or output rows
  int64_t nanoseconds;   // until its barrier, over all steps
  int64_t weight_bytes;  // that it reads in a step
  int64_t weights;       // multiply-adds of a row
};

class Profile {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Profile(size_t instructions) : spent_(instructions) {}
  void start_step() { last_ = Clock::now(); }
  void before_instructions() { prologue_ += lap(); }
  void after(size_t instruction) { spent_[instruction] += lap(); }

  // The step's own preparations first, then every instruction of the plan.
  std::vector<InstructionProfile> report(const Plan& plan,
                                         const std::vector<PackedWeight>& packed) const;

 private:
  int64_t lap() {
    const Clock::time_point now = Clock::now();
    const auto spent = std::chrono::duration_cast<std::chrono::nanoseconds>(now - last_);
    last_ = now;
    return spent.count();
  }

  Clock::time_point last_;
  int64_t prologue_ = 0;
  std::vector<int64_t> spent_;
};

}  // namespace legato
