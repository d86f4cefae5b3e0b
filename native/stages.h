// How the workers execute one instruction. Every stage ends when all of its work is done.
#pragma once

#include <vector>

#include "ops/rowwise.h"
#include "program.h"
#include "step_memory.h"
#include "thread_pool.h"

namespace legato {

// What a stage sees besides its instruction.
struct StepContext {
  const Plan& plan;
  const Step& step;
  const StepMemory& memory;
  const std::vector<PackedWeight>& packed;  // by weight index; null data where not packed
  Simd simd;
  Precision precision;
  const RowOps& ops;
  uint8_t* kv_pool;
  const std::vector<AttentionPlan>& attention_plans;  // of this step
  const std::vector<int32_t>& attention_plan_of;      // instruction → plan
  uint8_t* attention_scratch;

  Matrix buffer(int32_t index) const { return memory.buffer(index, step); }
  const float* vector(int32_t index) const {
    return index == kNone ? nullptr : plan.vectors[static_cast<size_t>(index)].data();
  }
};

KVView kv_view(const StepContext& context, int32_t layer);
Ragged ragged(const StepContext& context, int32_t group);
// Query and output are left out; they do not matter to plan_attention.
AttentionCall attention_call(const StepContext& context, const Attention& attention);

// Fill the cosines and sines of all ropes for the step's positions.
void rope_tables(const StepContext& context, Worker& worker);

// Execute instruction `index` of the plan.
void execute(const StepContext& context, Worker& worker, size_t index);

}  // namespace legato
