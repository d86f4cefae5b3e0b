// The scratch of a step, cut from one arena: activation buffers, quantised rows, rope tables.
#pragma once

#include <cstdint>
#include <vector>

#include "arena.h"
#include "program.h"

namespace legato {

// f32 [rows, width], rows `stride` elements apart.
struct Matrix {
  float* data;
  int64_t rows;
  int64_t width;
  int64_t stride;
  float* row(int64_t index) const { return data + index * stride; }
};

// Activations as linears read them: int8 rows for block formats, f32 rows for float formats.
struct Prepared {
  uint8_t* quantised;
  Matrix f32;
};

class StepMemory {
 public:
  // Columns that linears read, at most; columns of GatedLinear results, at most (0: none).
  struct Widths {
    int64_t input;
    int64_t handover;
  };
  // Rows that every thread prepares for itself alone. Two threads would fight for the lines that
  // the rows of a tile share, and a barrier costs more than what one of them saves.
  static constexpr int64_t kPrivateRows = kTileRows;
  // Columns of a GatedLinear that a thread computes, for kTallRows rows, before it passes them on.
  static constexpr int64_t kTileColumns = 256;
  // From row to row there: a power of two would put rows into the same few sets of a cache.
  static constexpr int64_t kTileStride = kTileColumns + kPanelRows;

  StepMemory(const Plan& plan, int threads, Widths widths) noexcept;

  // Rows of each kind.
  struct Counts {
    int64_t tokens = 0, outputs = 0, logits = 0;
    int64_t of(Rows kind) const;
    bool operator==(const Counts&) const = default;
  };

  // Make room for a step of so many rows. Contents are lost when it grows.
  void reserve(const Counts& wanted);

  Matrix buffer(int32_t index, const Step& step) const;
  Prepared shared(int64_t rows, int64_t columns) const;
  Prepared own(int thread, int64_t rows, int64_t columns) const;  // at most kTallRows rows
  uint8_t* handover() const { return at(handover_); }
  float* tile(int thread, int which) const;  // [kTallRows, kTileStride]; which: 0 or 1
  Matrix cosines(int32_t rope) const;        // [tokens, pairs]
  Matrix sines(int32_t rope) const;
  uint8_t* sampling(int thread) const { return at(threads_[thread].sampling); }

 private:
  struct Offsets {  // bytes from the arena's start
    int64_t quantised, f32, tile, sampling;
  };
  int64_t lay_out(const Counts& counts);
  int64_t take(int64_t bytes);
  uint8_t* at(int64_t offset) const { return arena_.data() + offset; }
  float* floats(int64_t offset) const { return reinterpret_cast<float*>(at(offset)); }

  const Plan& plan_;
  const Widths widths_;
  Counts room_;
  int64_t end_ = 0;
  std::vector<int64_t> slots_, cosines_, sines_;
  std::vector<Offsets> threads_;
  Offsets shared_{};
  int64_t handover_ = 0;
  Arena arena_;
};

}  // namespace legato
