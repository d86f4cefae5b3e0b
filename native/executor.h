// Owns a plan and everything that it needs to run: threads, packed weights, scratch, KV pool.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "arena.h"
#include "profile.h"
#include "program.h"
#include "stages.h"
#include "step_memory.h"
#include "thread_pool.h"

namespace legato {

// Keys and values, by block.
struct KVPool {
  Arena arena;
  int32_t blocks = 0;
};

class Executor {
 public:
  // Packs the weights with all threads. The bytes behind plan.weights must stay valid.
  //
  // An executor `beside` another uses that one's threads, and its packed weights where both plans
  // have the same bytes: equal data, format and columns, and no more rows. With `share_kv` it uses
  // its KV pool too; throws StepError where the layers of the plans do not lie alike.
  // Only one of them may run at a time.
  Executor(Plan plan, Options options, const Executor* beside = nullptr, bool share_kv = false);

  void allocate_kv(int32_t blocks);  // once, by one of those who share; throws std::bad_alloc
  // Copy whole blocks pairwise, in order; throws StepError for ids outside the pool.
  void copy_blocks(const int32_t* sources, const int32_t* targets, int64_t count);
  // Execute the plan. Throws StepError where the step breaks its contract.
  void run(const Step& step);

  // Begin to measure the instructions of every step from now on.
  void start_profile() { profile_.emplace(plan_.instructions.size()); }
  // What was measured since; empty where no profile was started.
  std::vector<InstructionProfile> profile() const;

  const Plan& plan() const { return plan_; }
  int threads() const { return pool_->size(); }
  int64_t weight_bytes() const { return weights_->size(); }  // of those that it packed itself

 private:
  void borrow_weights(const Executor& other);
  void pack_weights();
  StepContext context(const Step& step) const;
  void plan_attentions(const StepContext& context);

  const Plan plan_;
  const Options options_;
  const std::shared_ptr<ThreadPool> pool_;
  std::vector<PackedWeight> packed_;  // by weight index; null data where not packed
  const std::shared_ptr<Arena> weights_ = std::make_shared<Arena>();
  std::vector<std::shared_ptr<Arena>> borrowed_;  // kept alive
  StepMemory memory_;
  const std::shared_ptr<KVPool> kv_;
  std::vector<AttentionPlan> attention_plans_;
  std::vector<int32_t> attention_plan_of_;
  Arena attention_scratch_;
  std::optional<Profile> profile_;
};

}  // namespace legato
