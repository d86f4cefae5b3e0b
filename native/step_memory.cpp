#include "step_memory.h"

#include <algorithm>

namespace legato {
namespace {

constexpr int64_t kAlignment = 128;
constexpr int64_t kFloatsPerLine = 16;

int64_t line_stride(int64_t width) {
  return (width + kFloatsPerLine - 1) / kFloatsPerLine * kFloatsPerLine;
}

constexpr int64_t kFloat = sizeof(float);

int64_t logits_width(const Plan& plan) {
  return plan.result == kNone ? 0 : plan.buffers[plan.result].width;
}

}  // namespace

StepMemory::StepMemory(const Plan& plan, int threads, Widths widths) noexcept
    : plan_(plan), widths_(widths), threads_(static_cast<size_t>(threads)) {
  int32_t slots = 0;
  for (const BufferSpec& buffer : plan.buffers) slots = std::max(slots, buffer.slot + 1);
  slots_.resize(static_cast<size_t>(slots));
  cosines_.resize(plan.ropes.size());
  sines_.resize(plan.ropes.size());
}

int64_t StepMemory::Counts::of(Rows kind) const {
  return kind == Rows::Tokens ? tokens : kind == Rows::Outputs ? outputs : logits;
}

void StepMemory::reserve(const Counts& wanted) {
  const Counts larger{std::max(wanted.tokens, room_.tokens),
                      std::max(wanted.outputs, room_.outputs),
                      std::max(wanted.logits, room_.logits)};
  if (larger == room_) return;
  room_ = {};  // until the memory is really there
  arena_.reserve(lay_out(larger));
  room_ = larger;
}

int64_t StepMemory::take(int64_t bytes) {
  const int64_t offset = end_;
  end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return offset;
}

int64_t StepMemory::lay_out(const Counts& counts) {
  end_ = 0;
  std::vector<int64_t> sizes(slots_.size());
  for (const BufferSpec& buffer : plan_.buffers) {
    const int64_t rows = counts.of(buffer.rows);
    sizes[buffer.slot] = std::max(sizes[buffer.slot], kFloat * rows * line_stride(buffer.width));
  }
  std::transform(sizes.begin(), sizes.end(), slots_.begin(), [&](int64_t n) { return take(n); });
  const int64_t rows = std::max(counts.tokens, counts.outputs);
  shared_.quantised = take(quantised_bytes(rows, widths_.input));
  shared_.f32 = take(kFloat * rows * line_stride(widths_.input));
  handover_ = take(widths_.handover == 0 ? 0 : quantised_bytes(rows, widths_.handover));
  for (size_t rope = 0; rope < plan_.ropes.size(); ++rope) {
    const int64_t pairs = line_stride(static_cast<int64_t>(plan_.ropes[rope].frequencies.size()));
    cosines_[rope] = take(kFloat * counts.tokens * pairs);
    sines_[rope] = take(kFloat * counts.tokens * pairs);
  }
  for (Offsets& own : threads_) {
    own.quantised = take(quantised_bytes(kTallRows, widths_.input));
    own.f32 = take(kFloat * kTallRows * line_stride(widths_.input));
    own.tile = take(widths_.handover == 0 ? 0 : 2 * kFloat * kTallRows * kTileStride);
    own.sampling = take(sample_scratch_bytes(static_cast<int32_t>(logits_width(plan_))));
  }
  return end_;
}

Matrix StepMemory::buffer(int32_t index, const Step& step) const {
  const BufferSpec& spec = plan_.buffers[index];
  const int64_t rows = step.rows(spec.rows);
  float* wanted = index == plan_.result ? step.logits : index == plan_.hidden ? step.hidden : nullptr;
  if (wanted != nullptr) return {wanted, rows, spec.width, spec.width};
  return {floats(slots_[spec.slot]), rows, spec.width, line_stride(spec.width)};
}

Prepared StepMemory::shared(int64_t rows, int64_t columns) const {
  return {at(shared_.quantised), {floats(shared_.f32), rows, columns, line_stride(columns)}};
}

Prepared StepMemory::own(int thread, int64_t rows, int64_t columns) const {
  const Offsets& own = threads_[thread];
  return {at(own.quantised), {floats(own.f32), rows, columns, line_stride(columns)}};
}

float* StepMemory::tile(int thread, int which) const {
  return floats(threads_[thread].tile) + which * kTallRows * kTileStride;
}

Matrix StepMemory::cosines(int32_t rope) const {
  const auto pairs = static_cast<int64_t>(plan_.ropes[rope].frequencies.size());
  return {floats(cosines_[rope]), room_.tokens, pairs, line_stride(pairs)};
}

Matrix StepMemory::sines(int32_t rope) const {
  const auto pairs = static_cast<int64_t>(plan_.ropes[rope].frequencies.size());
  return {floats(sines_[rope]), room_.tokens, pairs, line_stride(pairs)};
}

}  // namespace legato
