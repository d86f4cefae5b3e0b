#include "profile.h"

namespace legato {
namespace {

struct Cost {
  Rows rows = Rows::Tokens;
  int64_t bytes = 0;
  int64_t weights = 0;
};

// Adds the cost of one matrix whose products go to `out`.
void add(Cost& cost, const PackedWeight& weight) {
  cost.bytes += packed_bytes(weight.format, weight.rows, weight.columns);
  cost.weights += weight.rows * weight.columns;
}

struct Describe {
  const Plan& plan;
  const std::vector<PackedWeight>& packed;
  Cost& cost;
  std::string operator()(const Embed&) const { return "embed"; }
  std::string operator()(const RmsNorm& op) const { return at(op.out), "rms_norm"; }
  std::string operator()(const Linear& op) const {
    for (const Projection& part : op.parts) add(cost, packed[part.weight]);
    return at(op.parts.front().out), op.input == kNone ? "linear (handed over)" : "linear";
  }
  std::string operator()(const GatedLinear& op) const {
    add(cost, packed[op.gate]);
    add(cost, packed[op.up]);
    return "gated_linear";
  }
  std::string operator()(const PrepareHeads&) const { return "prepare_heads"; }
  std::string operator()(const Attention&) const { return "attention"; }
  std::string operator()(const GatedActivation& op) const { return at(op.out), "gated_activation"; }
  std::string operator()(const Map& op) const { return at(op.out), "map"; }
  std::string operator()(const TakeRows& op) const { return at(op.out), "take_rows"; }
  std::string operator()(const Sample& op) const { return at(op.logits), "sample"; }
  void at(int32_t buffer) const { cost.rows = plan.buffers[buffer].rows; }
};

}  // namespace

std::vector<InstructionProfile> Profile::report(const Plan& plan,
                                                const std::vector<PackedWeight>& packed) const {
  std::vector<InstructionProfile> found{{"prologue", Rows::Tokens, prologue_, 0, 0}};
  for (size_t i = 0; i < spent_.size(); ++i) {
    Cost cost;
    const std::string kind = std::visit(Describe{plan, packed, cost}, plan.instructions[i]);
    found.push_back({kind, cost.rows, spent_[i], cost.bytes, cost.weights});
  }
  return found;
}

}  // namespace legato
