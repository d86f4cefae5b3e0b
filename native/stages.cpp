#include "stages.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "linear_stages.h"
#include "ops/dequantise.h"
#include "ops/sample_row.h"

namespace legato {
namespace {

constexpr int64_t kMapChunk = 16384;  // elements: wide rows are shared by several threads

void embed(const StepContext& c, Worker& worker, const Embed& op) {
  const WeightSpec& table = c.plan.weights[op.table];
  const Matrix out = c.buffer(op.out);
  const int64_t bytes = row_bytes(table.format, table.columns);
  worker.share(out.rows, [&](int64_t t) {
    dequantise_row(table.format, table.data + c.step.token_ids[t] * bytes, table.columns,
                   out.row(t));
    if (op.scale != 1.0f) {
      c.ops.map(Elementwise::Scale, out.row(t), nullptr, op.scale, out.width, out.row(t));
    }
  });
}

void rms_norm(const StepContext& c, Worker& worker, const RmsNorm& op) {
  const Matrix in = c.buffer(op.input), out = c.buffer(op.out);
  const std::vector<float>& weight = c.plan.vectors[op.norm.vector];
  worker.share(out.rows, [&](int64_t t) {
    const float* addend = op.addend == kNone ? nullptr : c.buffer(op.addend).row(t);
    c.ops.rms_norm(in.row(t), weight.data(), op.norm.eps, in.width,
                   static_cast<int64_t>(weight.size()), addend, out.row(t));
  });
}

void prepare_head(const StepContext& c, const Heads& heads, int64_t t) {
  const Matrix in = c.buffer(heads.input), out = c.buffer(heads.out);
  const float* from = in.row(t);
  if (heads.norm) {
    const std::vector<float>& weight = c.plan.vectors[heads.norm->vector];
    c.ops.rms_norm(from, weight.data(), heads.norm->eps, in.width,
                   static_cast<int64_t>(weight.size()), nullptr, out.row(t));
    from = out.row(t);
  }
  if (heads.rope == kNone) return;
  const Matrix cosines = c.memory.cosines(heads.rope), sines = c.memory.sines(heads.rope);
  for (int64_t start = 0; start < in.width; start += heads.head_dim) {
    c.ops.rope(from + start, cosines.row(t), sines.row(t), cosines.width, heads.head_dim,
               c.plan.ropes[heads.rope].interleaved, out.row(t) + start);
  }
}

// The sequence that row t belongs to.
int32_t sequence_of(const Step& step, int64_t t) {
  const int32_t* end = step.query_starts + step.sequences + 1;
  return static_cast<int32_t>(std::upper_bound(step.query_starts, end, t) - step.query_starts) - 1;
}

void append(const StepContext& c, const Append& op, int64_t t) {
  const Matrix key = c.buffer(op.key), value = c.buffer(op.value);
  const int32_t sequence = sequence_of(c.step, t);
  const auto first = static_cast<int32_t>(t - c.step.query_starts[sequence]);
  kv_append(c.simd, kv_view(c, op.layer), ragged(c, op.group), sequence, first, 1, key.data,
            key.stride, value.data, value.stride);
}

void prepare_heads(const StepContext& c, Worker& worker, const PrepareHeads& op) {
  worker.share(c.step.tokens, [&](int64_t t) {
    for (const Heads& heads : op.parts) prepare_head(c, heads, t);
    if (op.append) append(c, *op.append, t);
  });
}

void attention(const StepContext& c, Worker& worker, const Attention& op, const AttentionPlan& plan) {
  AttentionCall call = attention_call(c, op);
  const Matrix query = c.buffer(op.query), out = c.buffer(op.out);
  call.q = query.data;
  call.q_stride = query.stride;
  call.out = out.data;
  call.out_stride = out.stride;
  worker.share(plan.units, [&](int64_t item) {
    const auto unit = static_cast<int32_t>(item);
    attention_unit(c.simd, call, plan, unit, unit + 1, c.attention_scratch);
  });
  if (plan.merges == 0) return;
  worker.share(plan.merges, [&](int64_t merge) {
    attention_merge(c.simd, call, plan, static_cast<int32_t>(merge), c.attention_scratch);
  });
}

void gated_activation(const StepContext& c, Worker& worker, const GatedActivation& op) {
  const Matrix gate = c.buffer(op.gate), up = c.buffer(op.up), out = c.buffer(op.out);
  worker.share(out.rows, [&](int64_t t) {
    c.ops.gated(op.activation, gate.row(t), up.row(t), out.width, out.row(t));
  });
}

void map(const StepContext& c, Worker& worker, const Map& op) {
  const Matrix a = c.buffer(op.a), b = op.b == kNone ? a : c.buffer(op.b), out = c.buffer(op.out);
  const int64_t chunks = (out.width + kMapChunk - 1) / kMapChunk;
  worker.share(out.rows * chunks, [&](int64_t item) {
    const int64_t t = item / chunks, start = item % chunks * kMapChunk;
    c.ops.map(op.kind, a.row(t) + start, b.row(t) + start, op.factor,
              std::min(kMapChunk, out.width - start), out.row(t) + start);
  });
}

void take_rows(const StepContext& c, Worker& worker, const TakeRows& op) {
  const Matrix in = c.buffer(op.input), out = c.buffer(op.out);
  worker.share(out.rows, [&](int64_t r) {
    const size_t bytes = static_cast<size_t>(out.width) * sizeof(float);
    std::memcpy(out.row(r), in.row(c.step.output_rows[r]), bytes);
  });
}

// As many rows as divide among the threads one by one, the rest by all threads together.
void sample(const StepContext& c, Worker& worker, const Sample& op) {
  if (!c.step.sampling) return;
  const Matrix logits = c.buffer(op.logits);
  const auto sample_with = [&](auto& team, int64_t r, int scratch) {
    sample_row(c.simd, *c.step.sampling, static_cast<int32_t>(r), logits.row(r), c.step.result,
               c.memory.sampling(scratch), team);
  };
  const int64_t divided = logits.rows - logits.rows % worker.threads();
  if (divided > 0) {
    Alone alone;
    worker.share(divided, [&](int64_t r) { sample_with(alone, r, worker.index()); });
  }
  for (int64_t r = divided; r < logits.rows; ++r) sample_with(worker, r, 0);
}

}  // namespace

KVView kv_view(const StepContext& c, int32_t layer) {
  const KVSpec& kv = c.plan.kv;
  return {c.kv_pool + layer * kv.layer_bytes(), kv.block_bytes(), kv.block_size,
          kv.kv_heads,                          kv.head_dim,      kv.type};
}

Ragged ragged(const StepContext& c, int32_t group) {
  const int64_t table = int64_t{c.step.sequences} * c.step.table_stride;
  return {c.step.sequences, c.step.query_starts, c.step.kv_lengths,
          c.step.block_tables + group * table, c.step.table_stride};
}

AttentionCall attention_call(const StepContext& c, const Attention& op) {
  AttentionCall call{};
  call.kv = kv_view(c, op.layer);
  call.batch = ragged(c, op.group);
  call.heads = op.heads;
  call.scale = op.scale;
  call.soft_cap = op.soft_cap;
  call.window = op.window;
  return call;
}

void rope_tables(const StepContext& c, Worker& worker) {
  const auto ropes = static_cast<int32_t>(c.plan.ropes.size());
  worker.share(int64_t{ropes} * c.step.tokens, [&](int64_t item) {
    const auto rope = static_cast<int32_t>(item / c.step.tokens);
    const int64_t t = item % c.step.tokens;
    const RopeSpec& spec = c.plan.ropes[rope];
    float* cosines = c.memory.cosines(rope).row(t);
    float* sines = c.memory.sines(rope).row(t);
    for (size_t i = 0; i < spec.frequencies.size(); ++i) {
      const float angle = static_cast<float>(c.step.positions[t]) * spec.frequencies[i];
      cosines[i] = std::cos(angle) * spec.magnitude;
      sines[i] = std::sin(angle) * spec.magnitude;
    }
  });
}

void execute(const StepContext& c, Worker& worker, size_t index) {
  struct Visitor {
    const StepContext& c;
    Worker& worker;
    size_t index;
    void operator()(const Embed& op) const { embed(c, worker, op); }
    void operator()(const RmsNorm& op) const { rms_norm(c, worker, op); }
    void operator()(const Linear& op) const { linear_stage(c, worker, op); }
    void operator()(const GatedLinear& op) const { gated_linear_stage(c, worker, op); }
    void operator()(const PrepareHeads& op) const { prepare_heads(c, worker, op); }
    void operator()(const Attention& op) const {
      attention(c, worker, op, c.attention_plans[c.attention_plan_of[index]]);
    }
    void operator()(const GatedActivation& op) const { gated_activation(c, worker, op); }
    void operator()(const Map& op) const { map(c, worker, op); }
    void operator()(const TakeRows& op) const { take_rows(c, worker, op); }
    void operator()(const Sample& op) const { sample(c, worker, op); }
  };
  std::visit(Visitor{c, worker, index}, c.plan.instructions[index]);
}

}  // namespace legato
