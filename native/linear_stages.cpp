#include "linear_stages.h"

#include <algorithm>

namespace legato {
namespace {

constexpr int64_t kChunksPerThread = 4;  // so that a noisy neighbour does not stall a barrier

// How much of its first weights a thread asks for before it prepares its input.
constexpr int64_t kPrefetchBytes = 16384;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Range {
  int64_t first, last;
};

// Part `item` of `total` things cut into `items` parts that differ by one at most.
Range cut(int64_t total, int64_t items, int64_t item) {
  return {total * item / items, total * (item + 1) / items};
}

// Ask for the weights of a panel and of those behind it.
void prefetch(const PackedWeight& weight, int64_t panel) {
  const int64_t size = packed_bytes(weight.format, weight.rows, weight.columns);
  const int64_t start = size / weight.panels() * panel;
  const int64_t end = std::min(size, start + kPrefetchBytes);
  for (int64_t at = start; at < end; at += 64) __builtin_prefetch(weight.data + at);
}

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
    // Whole tiles: two threads would fight for the lines that the rows of a tile share.
    worker.share(divide_up(in.rows, kTileRows), [&](int64_t tile) {
      const int64_t end = std::min(in.rows, (tile + 1) * kTileRows);
      for (int64_t t = tile * kTileRows; t < end; ++t) prepare_row(c, input, in, prepared, t);
    });
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

// The panels of all parts of a Linear, one part after the other.
struct PartPanels {
  const StepContext& c;
  const std::vector<Projection>& parts;

  int64_t panels(const Projection& part) const { return c.packed[part.weight].panels(); }
  int64_t total() const {
    int64_t sum = 0;
    for (const Projection& part : parts) sum += panels(part);
    return sum;
  }
  // Calls use(part, panels of that part) for every part that `range` touches.
  template <class Use>
  void visit(Range range, Use&& use) const {
    for (const Projection& part : parts) {
      const int64_t first = std::max<int64_t>(range.first, 0);
      const int64_t last = std::min(range.last, panels(part));
      if (first < last) use(part, Range{first, last});
      range = {range.first - panels(part), range.last - panels(part)};
    }
  }
};

// A piece of a GatedLinear: rows of one tile, columns of one strip.
struct Piece {
  Range rows, columns;
  int64_t width() const { return columns.last - columns.first; }
};

// One weight's part of a piece, into a compact matrix.
void multiply_piece(const StepContext& c, int32_t weight, const Prepared& input, int64_t m,
                    const Piece& piece, float* tile) {
  LinearCall call{};
  call.weight = &c.packed[weight];
  call.quantised = input.quantised;
  call.x = input.f32.data;
  call.x_stride = input.f32.stride;
  call.m = m;
  call.out_stride = piece.width();
  // The kernel addresses outputs by their row and column.
  call.out = tile - piece.rows.first * call.out_stride - piece.columns.first;
  call.first_row = piece.rows.first;
  call.last_row = piece.rows.last;
  linear(c.simd, call, piece.columns.first / kPanelRows, piece.columns.last / kPanelRows);
}

void gated_piece(const StepContext& c, const GatedLinear& op, const Prepared& input, int thread,
                 int64_t m, const Piece& piece) {
  float *gate = c.memory.tile(thread, 0), *up = c.memory.tile(thread, 1);
  multiply_piece(c, op.gate, input, m, piece, gate);
  multiply_piece(c, op.up, input, m, piece, up);
  const auto [first, last] = piece.rows;
  c.ops.gated(op.activation, gate, up, (last - first) * piece.width(), gate);
  for (int64_t t = first; t < last; ++t) {
    const float* row = gate + (t - first) * piece.width() - piece.columns.first;
    quantise_row(c.simd, c.precision, row, t, piece.columns.first, piece.columns.last, m,
                 c.packed[op.gate].rows, c.memory.handover());
  }
}

}  // namespace

bool reads_quantised(Format format) {
  return format != Format::F32 && format != Format::F16 && format != Format::BF16;
}

void linear_stage(const StepContext& c, Worker& worker, const Linear& op) {
  const int64_t rows = c.buffer(op.parts.front().out).rows;
  if (rows == 0) return;
  const PartPanels panels{c, op.parts};
  const int64_t total = panels.total();
  const int64_t items = std::min(total, kChunksPerThread * worker.threads());
  const Range mine = cut(total, items, worker.first_item(items));
  panels.visit({mine.first, mine.first + 1}, [&](const Projection& part, Range range) {
    prefetch(c.packed[part.weight], range.first);
  });
  Prepared input{c.memory.handover(), {}};
  if (op.input != kNone) {
    Needs needs;
    for (const Projection& part : op.parts) needs.add(c.packed[part.weight].format);
    input = prepare(c, worker, {op.input, op.norm, c.buffer(op.input).width, needs});
  }
  worker.share(items, [&](int64_t item) {
    panels.visit(cut(total, items, item), [&](const Projection& part, Range range) {
      linear(c.simd, linear_call(c, part, input), range.first, range.last);
    });
  });
}

void gated_linear_stage(const StepContext& c, Worker& worker, const GatedLinear& op) {
  const Matrix in = c.buffer(op.input);
  if (in.rows == 0) return;
  const PackedWeight &gate = c.packed[op.gate], &up = c.packed[op.up];
  const int64_t blocks = gate.rows / kQuantBlock;
  const int64_t strips = divide_up(gate.rows, StepMemory::kTileColumns);
  const int64_t items = std::min(blocks, std::max(strips, kChunksPerThread * worker.threads()));
  const int64_t mine = cut(blocks, items, worker.first_item(items)).first;
  if (mine < blocks) {
    prefetch(gate, mine * kQuantBlock / kPanelRows);
    prefetch(up, mine * kQuantBlock / kPanelRows);
  }
  Needs needs;
  needs.add(gate.format);
  needs.add(up.format);
  const Prepared input = prepare(c, worker, {op.input, op.norm, in.width, needs});
  worker.share(items, [&](int64_t item) {
    const auto [first, last] = cut(blocks, items, item);
    const Range columns{first * kQuantBlock, last * kQuantBlock};
    for (int64_t row = 0; row < in.rows; row += kTileRows) {
      const Range rows{row, std::min(in.rows, row + kTileRows)};
      gated_piece(c, op, input, worker.index(), in.rows, {rows, columns});
    }
  });
}

}  // namespace legato
