#include "linear_stages.h"

#include <algorithm>

namespace legato {
namespace {

constexpr int64_t kChunksPerThread = 4;  // so that a noisy neighbour does not stall a barrier

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Which forms of its input a group of projections reads.
struct Needs {
  bool quantised = false;
  bool f32 = false;
  void add(Format format) { (is_block_format(format) ? quantised : f32) = true; }
};

// The input of a stage: where its rows come from and how its consumers read them.
struct Input {
  int32_t buffer;
  const std::optional<Norm>& norm;
  int64_t columns;
  Needs needs;
};

void prepare_row(const StepContext& c, const Input& input, const Matrix& in, const Prepared& out,
                 int64_t t) {
  const float* x = in.row(t);
  if (input.norm) {
    const std::vector<float>& weight = c.plan.vectors[input.norm->vector];
    c.ops.rms_norm(x, weight.data(), input.norm->eps, in.width,
                   static_cast<int64_t>(weight.size()), nullptr, out.f32.row(t));
    x = out.f32.row(t);
  }
  if (input.needs.quantised) {
    quantise_row(c.simd, c.precision, x, t, 0, in.width, in.rows, in.width, out.quantised);
  }
}

// Few rows cost less to prepare on every thread than a barrier does; many are shared.
Prepared prepare(const StepContext& c, Worker& worker, const Input& input) {
  const Matrix in = c.buffer(input.buffer);
  Prepared prepared;
  if (in.rows <= StepMemory::kPrivateRows) {
    prepared = c.memory.own(worker.index(), in.rows, in.width);
    for (int64_t t = 0; t < in.rows; ++t) prepare_row(c, input, in, prepared, t);
  } else {
    prepared = c.memory.shared(in.rows, in.width);
    worker.share(in.rows, [&](int64_t t) { prepare_row(c, input, in, prepared, t); });
  }
  if (!input.norm) prepared.f32 = in;
  return prepared;
}

LinearCall linear_call(const StepContext& c, const Projection& part, const Prepared& input) {
  const Matrix out = c.buffer(part.out);
  LinearCall call{};
  call.weight = &c.packed[part.weight];
  call.quantised = input.quantised;
  call.x = input.f32.data;
  call.x_stride = input.f32.stride;
  call.m = out.rows;
  call.bias = c.vector(part.bias);
  call.addend = part.addend == kNone ? nullptr : c.buffer(part.addend).data;
  call.out = out.data;
  call.out_stride = out.stride;
  return call;
}

// Panels per work item when all parts together are cut for all threads.
int64_t chunk_panels(const StepContext& c, const Worker& worker, const Linear& op) {
  int64_t panels = 0;
  for (const Projection& part : op.parts) panels += c.packed[part.weight].panels();
  return divide_up(panels, kChunksPerThread * worker.threads());
}

// A tile of GatedLinear: one weight's outputs [first, first + width) into a compact matrix.
void tile_linear(const StepContext& c, int32_t weight, const Prepared& input, int64_t rows,
                 int64_t first, int64_t width, float* tile) {
  LinearCall call{};
  call.weight = &c.packed[weight];
  call.quantised = input.quantised;
  call.x = input.f32.data;
  call.x_stride = input.f32.stride;
  call.m = rows;
  call.out = tile - first;  // the kernel addresses outputs by their column
  call.out_stride = StepMemory::kTileColumns;
  linear(c.simd, call, first / kPanelRows, (first + width) / kPanelRows);
}

void gated_tile(const StepContext& c, const GatedLinear& op, const Prepared& input, int thread,
                int64_t rows, int64_t first, int64_t width) {
  const int64_t columns = c.packed[op.gate].rows;
  float *gate = c.memory.tile(thread, 0), *up = c.memory.tile(thread, 1);
  tile_linear(c, op.gate, input, rows, first, width, gate);
  tile_linear(c, op.up, input, rows, first, width, up);
  for (int64_t t = 0; t < rows; ++t) {
    float* gate_row = gate + t * StepMemory::kTileColumns;
    c.ops.gated(op.activation, gate_row, up + t * StepMemory::kTileColumns, width, gate_row);
    quantise_row(c.simd, c.precision, gate_row - first, t, first, first + width, rows, columns,
                 c.memory.handover());
  }
}

}  // namespace

bool reads_quantised(Format format) {
  return format != Format::F32 && format != Format::F16 && format != Format::BF16;
}

void linear_stage(const StepContext& c, Worker& worker, const Linear& op) {
  const int64_t rows = c.buffer(op.parts.front().out).rows;
  if (rows == 0) return;
  Prepared input{c.memory.handover(), {}};
  if (op.input != kNone) {
    Needs needs;
    for (const Projection& part : op.parts) needs.add(c.packed[part.weight].format);
    input = prepare(c, worker, {op.input, op.norm, c.buffer(op.input).width, needs});
  }
  const int64_t chunk = chunk_panels(c, worker, op);
  int64_t items = 0;
  for (const Projection& part : op.parts) items += divide_up(c.packed[part.weight].panels(), chunk);
  worker.share(items, [&](int64_t item) {
    for (const Projection& part : op.parts) {
      const int64_t panels = c.packed[part.weight].panels(), chunks = divide_up(panels, chunk);
      if (item < chunks) {
        linear(c.simd, linear_call(c, part, input), item * chunk,
               std::min(panels, (item + 1) * chunk));
        return;
      }
      item -= chunks;
    }
  });
}

void gated_linear_stage(const StepContext& c, Worker& worker, const GatedLinear& op) {
  const Matrix in = c.buffer(op.input);
  if (in.rows == 0) return;
  Needs needs;
  needs.add(c.packed[op.gate].format);
  needs.add(c.packed[op.up].format);
  const Prepared input = prepare(c, worker, {op.input, op.norm, in.width, needs});
  const int64_t columns = c.packed[op.gate].rows;
  const int64_t tiles = divide_up(columns, StepMemory::kTileColumns);
  const int64_t chunk = divide_up(tiles, kChunksPerThread * worker.threads());
  worker.share(divide_up(tiles, chunk), [&](int64_t item) {
    for (int64_t tile = item * chunk; tile < std::min(tiles, (item + 1) * chunk); ++tile) {
      const int64_t first = tile * StepMemory::kTileColumns;
      gated_tile(c, op, input, worker.index(), in.rows, first,
                 std::min(StepMemory::kTileColumns, columns - first));
    }
  });
}

}  // namespace legato
