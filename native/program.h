// The native contract on one page: the plan, given once, and the step, given each time.
//
// A plan is a flat list of instructions; one instruction is one or more program ops fused, and ends
// with a barrier. T: token rows of a step. R: output rows. S: sequences. G: KV groups.
// Operands are indices: `Buffer` into Plan::buffers, `Weight` into Plan::weights, and so on.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "formats.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/sample.h"

namespace legato {

constexpr int32_t kNone = -1;  // an operand that is absent

// Logits: the output rows where they are sampled or their logits wanted, else none.
enum class Rows : int32_t { Tokens, Outputs, Logits };
enum class Activation : int32_t { Silu, GeluTanh };
enum class Elementwise : int32_t { Add, Scale, SoftCap };

// f32 [rows of that kind, width]. Buffers that share a slot are never alive together.
struct BufferSpec {
  Rows rows;
  int64_t width;
  int32_t slot;
};

// A matrix in the bytes of its file, row-major [rows, columns]; the bytes outlive the executor.
struct WeightSpec {
  Format format;
  int64_t rows;
  int64_t columns;
  const uint8_t* data;
};

// Angles per position of the rotated pairs, [dims / 2].
struct RopeSpec {
  std::vector<float> frequencies;
  bool interleaved;  // pairs (2i, 2i + 1) instead of (i, i + dims / 2)
  float magnitude;   // factor on cos and sin
};

// y = x / sqrt(mean(x²) + eps) * vector, over each `size(vector)` consecutive elements of a row.
struct Norm {
  int32_t vector;
  float eps;
};

// out[t] = scale * table[token_ids[t]].  out: [T, columns of table]
struct Embed {
  int32_t table;
  int32_t out;
  float scale;
};

// out = addend + norm(input), all [rows, width]; addend may be absent.
struct RmsNorm {
  int32_t input;
  Norm norm;
  int32_t addend;
  int32_t out;
};

// out = x Wᵀ + bias + addend.  x: [rows, columns], out and addend: [rows, rows of W]
struct Projection {
  int32_t weight;
  int32_t bias;    // vector or kNone
  int32_t addend;  // buffer or kNone
  int32_t out;
};

// Projections of one input, normalised first where `norm` is there.
struct Linear {
  int32_t input;  // kNone: the int8 rows that the GatedLinear before left
  std::optional<Norm> norm;
  std::vector<Projection> parts;
};

// activation(x gateᵀ) * (x upᵀ), kept only as int8 rows for the Linear that follows.
struct GatedLinear {
  int32_t input;
  std::optional<Norm> norm;
  int32_t gate;  // weight
  int32_t up;    // weight
  Activation activation;
};

// out = rope(norm(input)) per head of `head_dim` elements; either half may be absent.
struct Heads {
  int32_t input;
  int32_t out;
  int32_t head_dim;
  std::optional<Norm> norm;
  int32_t rope;  // index into Plan::ropes or kNone
};

// Prepare heads, then write keys and values [T, kv_heads * head_dim] of a layer into the cache.
struct Append {
  int32_t key;
  int32_t value;
  int32_t group;  // KV group
  int32_t layer;  // within the group
};
struct PrepareHeads {
  std::vector<Heads> parts;
  std::optional<Append> append;
};

// Causal attention of q [T, heads * head_dim] over the cached layer; out like q.
struct Attention {
  int32_t query;
  int32_t out;
  int32_t group;
  int32_t layer;
  int32_t heads;
  float scale;
  float soft_cap;  // 0: none
  int32_t window;  // 0: all
};

// out = activation(gate) * up, all [rows, width].
struct GatedActivation {
  int32_t gate;
  int32_t up;
  int32_t out;
  Activation activation;
};

// Add: out = a + b. Scale: out = a * factor. SoftCap: out = factor * tanh(a / factor).
struct Map {
  Elementwise kind;
  int32_t a;
  int32_t b;  // kNone but for Add
  int32_t out;
  float factor;
};

// out [R, width] = rows output_rows of input [T, width].
struct TakeRows {
  int32_t input;
  int32_t out;
};

// Token ids and log-probabilities from logits [R, vocab].
struct Sample {
  int32_t logits;
};

using Instruction = std::variant<Embed, RmsNorm, Linear, GatedLinear, PrepareHeads, Attention,
                                 GatedActivation, Map, TakeRows, Sample>;

// The KV pool: block b is at pool + b * block_bytes; layer j of a group at j * layer_bytes in it.
struct KVSpec {
  std::vector<int32_t> windows;  // [G], 0: all tokens
  int32_t layers_per_block;
  int32_t block_size;
  int32_t kv_heads;
  int32_t head_dim;
  KVType type;
  int64_t layer_bytes() const { return kv_layer_bytes(block_size, kv_heads, head_dim, type); }
  int64_t block_bytes() const { return layers_per_block * layer_bytes(); }
};

struct Plan {
  std::vector<Instruction> instructions;
  std::vector<BufferSpec> buffers;
  std::vector<WeightSpec> weights;
  std::vector<std::vector<float>> vectors;  // norm weights and biases
  std::vector<RopeSpec> ropes;
  KVSpec kv;
  int32_t result;  // buffer [R, ·] that a caller may ask for (the logits), or kNone
  int32_t hidden;  // buffer [R, ·] that the head reads, which a caller may ask for, or kNone
  int32_t max_context;
};

struct Options {
  Simd simd;
  Precision precision;
  int32_t threads;
  int32_t rows;     // token rows that scratch is made for; grows when a step has more
  int32_t outputs;  // output rows, likewise
};

// One step; the fields are those of legato.backends.base.StepInput.
struct Step {
  int32_t tokens;     // T
  int32_t outputs;    // R
  int32_t sequences;  // S
  int32_t groups;     // G
  int32_t table_stride;
  const int32_t* token_ids;     // [T]
  const int32_t* positions;     // [T]
  const int32_t* query_starts;  // [S + 1]
  const int32_t* kv_lengths;    // [S]
  const int32_t* block_tables;  // [G, S, table_stride]
  const int32_t* output_rows;   // [R]
  std::optional<SamplingState> sampling;
  int32_t masks, bias_entries, seen_entries;  // rows of masks, lengths of bias_ids and seen_ids
  SamplingResult result;
  float* logits;  // [R, width of Plan::result], or null
  float* hidden;  // [R, width of Plan::hidden], or null

  int64_t rows(Rows kind) const {
    if (kind == Rows::Tokens) return tokens;
    return kind == Rows::Outputs || sampling || logits != nullptr ? outputs : 0;
  }
};

}  // namespace legato
