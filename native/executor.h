// Owns a plan and everything that it needs to run: threads, packed weights, scratch, KV pool.
#pragma once

#include <optional>
#include <vector>

#include "arena.h"
#include "profile.h"
#include "program.h"
#include "stages.h"
#include "step_memory.h"
#include "thread_pool.h"

namespace legato {

class Executor {
 public:
  // Packs the weights with all threads. The bytes behind plan.weights must stay valid.
  Executor(Plan plan, Options options);

  void allocate_kv(int32_t blocks);  // once; throws std::bad_alloc
  // Copy whole blocks pairwise, in order; throws StepError for ids outside the pool.
  void copy_blocks(const int32_t* sources, const int32_t* targets, int64_t count);
  // Execute the plan. Throws StepError where the step breaks its contract.
  void run(const Step& step);

  // Begin to measure the instructions of every step from now on.
  void start_profile() { profile_.emplace(plan_.instructions.size()); }
  // What was measured since; empty where no profile was started.
  std::vector<InstructionProfile> profile() const;

  const Plan& plan() const { return plan_; }
  int threads() const { return pool_.size(); }
  int64_t weight_bytes() const { return weights_.size(); }

 private:
  void pack_weights();
  StepContext context(const Step& step) const;
  void plan_attentions(const StepContext& context);

  const Plan plan_;
  const Options options_;
  ThreadPool pool_;
  std::vector<PackedWeight> packed_;
  Arena weights_;
  StepMemory memory_;
  Arena kv_;
  int32_t blocks_ = 0;
  std::vector<AttentionPlan> attention_plans_;
  std::vector<int32_t> attention_plan_of_;
  Arena attention_scratch_;
  std::optional<Profile> profile_;
};

}  // namespace legato
