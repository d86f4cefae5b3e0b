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

// Ask for the weights of a panel and of those behind it, into L2.
void prefetch(const PackedWeight& weight, int64_t panel) {
  const int64_t size = packed_bytes(weight.format, weight.rows, weight.columns);
  const int64_t start = size / weight.panels() * panel;
  const int64_t end = std::min(size, start + kPrefetchBytes);
  for (int64_t at = start; at < end; at += 64) __builtin_prefetch(weight.data + at, 0, 2);
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

Matrix rows_of(const Matrix& all, Range rows) {
  return {all.row(rows.first), rows.last - rows.first, all.width, all.stride};
}

Range tile_rows(int64_t rows, int64_t tile) {
  return {tile * kTileRows, std::min(rows, (tile + 1) * kTileRows)};
}

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

// Rows of a step, and the forms in which linears read these rows alone.
struct Ready {
  Prepared as;
  Range rows;
};

// At most kTallRows rows, by and for one thread.
Ready prepare_own(const StepContext& c, int thread, const Input& input, Range rows) {
  const Matrix in = rows_of(c.buffer(input.buffer), rows);
  Prepared prepared = c.memory.own(thread, in.rows, in.width);
  for (int64_t t = 0; t < in.rows; ++t) prepare_row(c, input, in, prepared, t);
  if (!input.norm) prepared.f32 = in;
  return {prepared, rows};
}

// All rows. Few cost less to prepare on every thread than a barrier does; many are shared.
Ready prepare(const StepContext& c, Worker& worker, const Input& input) {
  const Matrix in = c.buffer(input.buffer);
  if (in.rows <= StepMemory::kPrivateRows) {
    return prepare_own(c, worker.index(), input, {0, in.rows});
  }
  Prepared prepared = c.memory.shared(in.rows, in.width);
  // Whole tiles: two threads would fight for the lines that the rows of a tile share.
  worker.share(divide_up(in.rows, kTileRows), [&](int64_t tile) {
    const auto [first, last] = tile_rows(in.rows, tile);
    for (int64_t t = first; t < last; ++t) prepare_row(c, input, in, prepared, t);
  });
  if (!input.norm) prepared.f32 = in;
  return {prepared, {0, in.rows}};
}

// The int8 rows that a GatedLinear left for columns of a weight.
Ready handed_over(const StepContext& c, Range rows, int64_t columns) {
  return {{c.memory.handover() + quantised_bytes(rows.first, columns), {}}, rows};
}

// Where there are many rows, a thread takes a stretch of them through the whole stage: what it
// prepares and reads again and again stays in its cache, while the weights pass by once a stretch.
bool by_stretches(int64_t rows, const Worker& worker) {
  return divide_up(rows, kTileRows) >= kChunksPerThread * worker.threads();
}

// The rows of a step in stretches of whole tiles, as long as leaves every thread two.
struct Stretches {
  int64_t rows, length;
  Stretches(int64_t all, const Worker& worker) : rows(all) {
    const int64_t tiles = divide_up(all, kTileRows) / (2 * worker.threads());
    length = std::clamp(tiles * kTileRows, kTileRows, kTallRows);
  }
  int64_t count() const { return divide_up(rows, length); }
  Range at(int64_t index) const { return {index * length, std::min(rows, (index + 1) * length)}; }
};

LinearCall linear_call(const StepContext& c, const Projection& part, const Ready& input) {
  const Matrix out = rows_of(c.buffer(part.out), input.rows);
  LinearCall call{};
  call.weight = &c.packed[part.weight];
  call.quantised = input.as.quantised;
  call.precision = c.precision;
  call.x = input.as.f32.data;
  call.x_stride = input.as.f32.stride;
  call.m = out.rows;
  call.bias = c.vector(part.bias);
  call.addend = part.addend == kNone ? nullptr : c.buffer(part.addend).row(input.rows.first);
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

// A piece of a GatedLinear: at most kTallRows rows, columns of one strip.
struct Piece {
  Range rows, columns;
  int64_t width() const { return columns.last - columns.first; }
};

// One weight's part of a piece, into a tile of its own.
void multiply_piece(const StepContext& c, int32_t weight, const Ready& input, const Piece& piece,
                    float* tile) {
  const int64_t first = piece.rows.first - input.rows.first;
  LinearCall call{};
  call.weight = &c.packed[weight];
  call.quantised = input.as.quantised;
  call.precision = c.precision;
  call.x = input.as.f32.data;
  call.x_stride = input.as.f32.stride;
  call.m = input.rows.last - input.rows.first;
  call.out_stride = StepMemory::kTileStride;
  // The kernel addresses outputs by their row and column.
  call.out = tile - first * call.out_stride - piece.columns.first;
  call.first_row = first;
  call.last_row = piece.rows.last - input.rows.first;
  linear(c.simd, call, piece.columns.first / kPanelRows, piece.columns.last / kPanelRows);
}

void gated_piece(const StepContext& c, const GatedLinear& op, const Ready& input, int thread,
                 const Piece& piece) {
  float *gate = c.memory.tile(thread, 0), *up = c.memory.tile(thread, 1);
  multiply_piece(c, op.gate, input, piece, gate);
  multiply_piece(c, op.up, input, piece, up);
  const auto [first, last] = piece.rows;
  for (int64_t t = first; t < last; ++t) {
    const int64_t at = (t - first) * StepMemory::kTileStride;
    c.ops.gated(op.activation, gate + at, up + at, piece.width(), gate + at);
    quantise_row(c.simd, c.precision, gate + at - piece.columns.first, t, piece.columns.first,
                 piece.columns.last, c.buffer(op.input).rows, c.packed[op.gate].rows,
                 c.memory.handover());
  }
}

// All panels of a Linear, a stretch of rows at a time.
void linear_stretches(const StepContext& c, Worker& worker, const Linear& op,
                  const PartPanels& panels, const Input& input) {
  const int64_t rows = c.buffer(op.parts.front().out).rows;
  const Stretches stretches(rows, worker);
  worker.share(stretches.count(), [&](int64_t index) {
    const Range range = stretches.at(index);
    const Ready ready = op.input == kNone ? handed_over(c, range, input.columns)
                                          : prepare_own(c, worker.index(), input, range);
    panels.visit({0, panels.total()}, [&](const Projection& part, Range all) {
      linear(c.simd, linear_call(c, part, ready), all.first, all.last);
    });
  });
}

// All columns of a GatedLinear, a stretch of rows at a time.
void gated_stretches(const StepContext& c, Worker& worker, const GatedLinear& op,
                     const Input& input) {
  const int64_t rows = c.buffer(op.input).rows, columns = c.packed[op.gate].rows;
  const Stretches stretches(rows, worker);
  worker.share(stretches.count(), [&](int64_t index) {
    const Ready ready = prepare_own(c, worker.index(), input, stretches.at(index));
    for (int64_t first = 0; first < columns; first += StepMemory::kTileColumns) {
      const Range strip{first, std::min(columns, first + StepMemory::kTileColumns)};
      gated_piece(c, op, ready, worker.index(), {ready.rows, strip});
    }
  });
}

}  // namespace

void linear_stage(const StepContext& c, Worker& worker, const Linear& op) {
  const int64_t rows = c.buffer(op.parts.front().out).rows;
  if (rows == 0) return;
  const PartPanels panels{c, op.parts};
  Needs needs;
  for (const Projection& part : op.parts) needs.add(c.packed[part.weight].format);
  const Input source{op.input, op.norm, c.packed[op.parts.front().weight].columns, needs};
  if (by_stretches(rows, worker)) return linear_stretches(c, worker, op, panels, source);
  const int64_t total = panels.total();
  const int64_t items = std::min(total, kChunksPerThread * worker.threads());
  const Range mine = cut(total, items, worker.first_item(items));
  panels.visit({mine.first, mine.first + 1}, [&](const Projection& part, Range range) {
    prefetch(c.packed[part.weight], range.first);
  });
  const Ready input = op.input == kNone ? handed_over(c, {0, rows}, source.columns)
                                        : prepare(c, worker, source);
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
  Needs needs;
  needs.add(gate.format);
  needs.add(up.format);
  const Input source{op.input, op.norm, in.width, needs};
  if (by_stretches(in.rows, worker)) return gated_stretches(c, worker, op, source);
  const int64_t blocks = gate.rows / kQuantBlock;
  const int64_t strips = divide_up(gate.rows, StepMemory::kTileColumns);
  const int64_t items = std::min(blocks, std::max(strips, kChunksPerThread * worker.threads()));
  const int64_t mine = cut(blocks, items, worker.first_item(items)).first;
  if (mine < blocks) {
    prefetch(gate, mine * kQuantBlock / kPanelRows);
    prefetch(up, mine * kQuantBlock / kPanelRows);
  }
  const Ready input = prepare(c, worker, source);
  worker.share(items, [&](int64_t item) {
    const auto [first, last] = cut(blocks, items, item);
    const Range columns{first * kQuantBlock, last * kQuantBlock};
    for (int64_t row = 0; row < in.rows; row += kTallRows) {
      const Range rows{row, std::min(in.rows, row + kTallRows)};
      gated_piece(c, op, input, worker.index(), {rows, columns});
    }
  });
}

}  // namespace legato
