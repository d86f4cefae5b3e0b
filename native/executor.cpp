#include "executor.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "check.h"

namespace legato {
namespace {

constexpr int64_t kAlignment = 128;
constexpr int64_t kPanelsPerPackItem = 16;

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

std::set<int32_t> linear_weights(const Plan& plan) {
  std::set<int32_t> found;
  for (const Instruction& instruction : plan.instructions) {
    if (const auto* op = std::get_if<Linear>(&instruction)) {
      for (const Projection& part : op->parts) found.insert(part.weight);
    } else if (const auto* gated = std::get_if<GatedLinear>(&instruction)) {
      found.insert({gated->gate, gated->up});
    }
  }
  return found;
}

StepMemory::Widths scratch_widths(const Plan& plan) {
  StepMemory::Widths widths{0, 0};
  for (const int32_t weight : linear_weights(plan)) {
    widths.input = std::max(widths.input, round_up(plan.weights[weight].columns, kQuantBlock));
  }
  for (const Instruction& instruction : plan.instructions) {
    if (const auto* op = std::get_if<GatedLinear>(&instruction)) {
      widths.handover = std::max(widths.handover, plan.weights[op->gate].rows);
    }
  }
  return widths;
}

bool same_shape(const Attention& a, const Attention& b) {
  return a.window == b.window && a.heads == b.heads;
}

bool same_layout(const KVSpec& a, const KVSpec& b) {
  return a.windows == b.windows && a.layers_per_block == b.layers_per_block &&
         a.block_size == b.block_size && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim &&
         a.type == b.type;
}

// Packed panels of `b` are the first ones of `a`.
bool begins_with(const WeightSpec& a, const WeightSpec& b) {
  return a.data == b.data && a.format == b.format && a.columns == b.columns && a.rows >= b.rows;
}

}  // namespace

Executor::Executor(Plan plan, Options options, const Executor* beside, bool share_kv)
    : plan_(std::move(plan)),
      options_(options),
      pool_(beside ? beside->pool_ : std::make_shared<ThreadPool>(options.threads)),
      packed_(plan_.weights.size()),
      memory_(plan_, pool_->size(), scratch_widths(plan_)),
      kv_(beside && share_kv ? beside->kv_ : std::make_shared<KVPool>()),
      attention_plan_of_(plan_.instructions.size(), kNone) {
  if (beside && share_kv && !same_layout(plan_.kv, beside->plan_.kv)) {
    throw StepError("a KV pool is shared only between programs of one layout");
  }
  if (beside) borrow_weights(*beside);
  pack_weights();
  memory_.reserve({options.rows, options.outputs, options.outputs});
}

void Executor::borrow_weights(const Executor& other) {
  borrowed_ = other.borrowed_;
  borrowed_.push_back(other.weights_);
  for (const int32_t weight : linear_weights(plan_)) {
    const WeightSpec& spec = plan_.weights[weight];
    for (size_t i = 0; i < other.packed_.size(); ++i) {
      if (other.packed_[i].data == nullptr || !begins_with(other.plan_.weights[i], spec)) continue;
      packed_[weight] = {spec.format, spec.rows, spec.columns, other.packed_[i].data};
    }
  }
}

void Executor::pack_weights() {
  struct Item {
    int32_t weight;
    uint8_t* target;
    int64_t first_panel;
  };
  std::vector<Item> items;
  std::vector<int64_t> offsets;
  int64_t total = 0;
  std::set<int32_t> used = linear_weights(plan_);
  for (size_t i = 0; i < packed_.size(); ++i) {
    if (packed_[i].data != nullptr) used.erase(static_cast<int32_t>(i));
  }
  for (const int32_t weight : used) {
    const WeightSpec& spec = plan_.weights[weight];
    offsets.push_back(total);
    total += round_up(packed_bytes(spec.format, spec.rows, spec.columns), kAlignment);
  }
  weights_->reserve(total);
  auto offset = offsets.begin();
  for (const int32_t weight : used) {
    const WeightSpec& spec = plan_.weights[weight];
    uint8_t* target = weights_->data() + *offset++;
    packed_[weight] = {spec.format, spec.rows, spec.columns, target};
    for (int64_t panel = 0; panel < packed_[weight].panels(); panel += kPanelsPerPackItem) {
      items.push_back({weight, target, panel});
    }
  }
  pool_->run([&](Worker& worker) {
    worker.share(static_cast<int64_t>(items.size()), [&](int64_t i) {
      const auto& [weight, target, first] = items[i];
      const WeightSpec& spec = plan_.weights[weight];
      const int64_t last = std::min(packed_[weight].panels(), first + kPanelsPerPackItem);
      pack_panels(spec.format, spec.data, spec.rows, spec.columns, target, first, last);
    });
  });
}

void Executor::allocate_kv(int32_t blocks) {
  kv_->arena.reserve(blocks * plan_.kv.block_bytes());
  kv_->blocks = blocks;
}

void Executor::copy_blocks(const int32_t* sources, const int32_t* targets, int64_t count) {
  check_blocks("sources", sources, count, kv_->blocks);
  check_blocks("targets", targets, count, kv_->blocks);
  const int64_t bytes = plan_.kv.block_bytes();
  for (int64_t i = 0; i < count; ++i) {
    std::memmove(kv_->arena.data() + targets[i] * bytes, kv_->arena.data() + sources[i] * bytes,
                 static_cast<size_t>(bytes));
  }
}

void Executor::run(const Step& step) {
  if (profile_) profile_->start_step();
  check_step(step, plan_, kv_->blocks);
  memory_.reserve({step.tokens, step.outputs, step.rows(Rows::Logits)});
  plan_attentions(context(step));
  const StepContext ready = context(step);
  pool_->run([&](Worker& worker) {
    const bool measured = profile_ && worker.index() == 0;
    rope_tables(ready, worker);
    if (measured) profile_->before_instructions();
    for (size_t i = 0; i < plan_.instructions.size(); ++i) {
      execute(ready, worker, i);
      if (measured) profile_->after(i);
    }
  });
}

std::vector<InstructionProfile> Executor::profile() const {
  if (!profile_) return {};
  return profile_->report(plan_, packed_);
}

StepContext Executor::context(const Step& step) const {
  return {plan_,
          step,
          memory_,
          packed_,
          options_.simd,
          options_.precision,
          row_ops(options_.simd),
          kv_->arena.data(),
          attention_plans_,
          attention_plan_of_,
          attention_scratch_.data()};
}

void Executor::plan_attentions(const StepContext& context) {
  attention_plans_.clear();
  std::vector<const Attention*> planned;
  int64_t scratch = 0;
  for (size_t i = 0; i < plan_.instructions.size(); ++i) {
    const auto* op = std::get_if<Attention>(&plan_.instructions[i]);
    if (op == nullptr) continue;
    const auto same = [&](const Attention* other) { return same_shape(*op, *other); };
    const auto found = std::find_if(planned.begin(), planned.end(), same);
    attention_plan_of_[i] = static_cast<int32_t>(found - planned.begin());
    if (found != planned.end()) continue;
    planned.push_back(op);
    attention_plans_.push_back(plan_attention(attention_call(context, *op)));
    scratch = std::max(scratch, attention_plans_.back().scratch_bytes);
  }
  attention_scratch_.reserve(scratch);
}

}  // namespace legato
