#include "attention.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "attention_kernels.h"
#include "attention_layout.h"

namespace legato {
namespace {

// A tile whose unit would be more than this share of all the work is split over several.
constexpr int32_t kEnoughUnits = 16;

bool multiplies_bf16(Simd simd, KVType type) {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has && simd == Simd::Avx512 && type == KVType::BF16;
#else
  (void)simd;
  (void)type;
  return false;
#endif
}

const AttentionKernels& kernels(Simd simd, KVType type) {
#if defined(__x86_64__)
  if (multiplies_bf16(simd, type)) return kAttentionAvx512Bf16;
  if (simd == Simd::Avx512) return kAttentionAvx512;
  if (simd == Simd::Avx2) return kAttentionAvx2;
#else
  (void)simd;
  (void)type;
#endif
  return kAttentionPortable;
}

void check(const AttentionCall& call) {
  const int32_t dim = call.kv.head_dim;
  if (dim <= 0 || dim > kMaxHeadDim) {
    throw std::invalid_argument("attention: head_dim " + std::to_string(dim) +
                                " is outside 1.." + std::to_string(kMaxHeadDim));
  }
  if (call.kv.kv_heads <= 0 || call.heads % call.kv.kv_heads != 0) {
    throw std::invalid_argument("attention: " + std::to_string(call.heads) +
                                " query heads are no multiple of " +
                                std::to_string(call.kv.kv_heads) + " KV heads");
  }
  if (call.kv.block_size <= 0 || call.kv.block_size % kTile != 0) {
    throw std::invalid_argument("attention: block size " + std::to_string(call.kv.block_size) +
                                " is no multiple of " + std::to_string(kTile));
  }
}

AttentionTile make_tile(const AttentionCall& call, int32_t sequence, int32_t first, int32_t rows) {
  const Ragged& batch = call.batch;
  const int32_t end = batch.query_starts[sequence + 1];
  AttentionTile tile{};
  tile.sequence = sequence;
  tile.first_row = first;
  tile.rows = rows;
  tile.position = batch.kv_lengths[sequence] - (end - first);
  const int32_t lowest = call.window > 0 ? std::max(0, tile.position - call.window + 1) : 0;
  tile.first_split = lowest / kSplit;
  tile.splits = (tile.position + rows - 1) / kSplit - tile.first_split + 1;
  return tile;
}

// The longest tiles come first: what is left at the end is short.
void add_tiles(const AttentionCall& call, int32_t sequence, AttentionPlan& plan) {
  const int32_t start = call.batch.query_starts[sequence];
  const int32_t rows = call.batch.query_starts[sequence + 1] - start;
  const int32_t step = rows_at_once(call.heads / call.kv.kv_heads);
  for (int32_t i = (rows + step - 1) / step - 1; i >= 0; --i) {
    const int32_t tile_rows = std::min(step, rows - i * step);
    plan.tiles.push_back(make_tile(call, sequence, start + i * step, tile_rows));
  }
}

// About what a unit of all splits takes: a row is little beside the keys that it shares.
int64_t work_of(const AttentionTile& tile) {
  constexpr int64_t kRowsOfReading = 3;
  return int64_t{tile.splits} * (tile.rows + kRowsOfReading);
}

void number_units(const AttentionCall& call, AttentionTile& tile, bool split, AttentionPlan& plan) {
  const int32_t kv_heads = call.kv.kv_heads;
  tile.split = split;
  tile.first_unit = plan.units;
  tile.first_merge = plan.merges;
  tile.partials = plan.scratch_bytes;
  plan.units += kv_heads * (split ? tile.splits : 1);
  if (!split) return;
  plan.merges += kv_heads;
  plan.scratch_bytes += static_cast<int64_t>(tile.splits) * tile.rows * call.heads *
                        partial_floats(call.kv.head_dim) * static_cast<int64_t>(sizeof(float));
}

// The last tile whose first unit (or merge) is not above `index`.
const AttentionTile& find_tile(const AttentionPlan& plan, int32_t AttentionTile::*start,
                               int32_t index) {
  const auto after = std::upper_bound(
      plan.tiles.begin(), plan.tiles.end(), index,
      [start](int32_t wanted, const AttentionTile& tile) { return wanted < tile.*start; });
  return *(after - 1);
}

AttentionUnit find_unit(const AttentionCall& call, const AttentionPlan& plan, int32_t unit) {
  if (unit < 0 || unit >= plan.units) return {nullptr, 0, 0};
  const AttentionTile& tile = find_tile(plan, &AttentionTile::first_unit, unit);
  const int32_t inside = unit - tile.first_unit;
  const int32_t kv_heads = call.kv.kv_heads;
  return {&tile, inside % kv_heads, tile.split ? inside / kv_heads : -1};
}

}  // namespace

int64_t kv_layer_bytes(int32_t block_size, int32_t kv_heads, int32_t head_dim, KVType type) {
  return kv_heads * head_bytes(block_size, head_dim, type);
}

const char* attention_products(Simd simd, KVType type) {
  if (type == KVType::Int8) return "int16";
  return multiplies_bf16(simd, type) ? "bf16" : "f32";
}

void kv_append(Simd simd, const KVView& kv, const Ragged& batch, int32_t sequence, int32_t first,
               int32_t count, const float* k, int64_t k_stride, const float* v, int64_t v_stride) {
  kernels(simd, kv.type).append(kv, batch, sequence, first, count, k, k_stride, v, v_stride);
}

AttentionPlan plan_attention(const AttentionCall& call) {
  check(call);
  AttentionPlan plan;
  const int32_t total = call.batch.query_starts[call.batch.sequences];
  const int32_t step = rows_at_once(call.heads / call.kv.kv_heads);
  plan.tiles.reserve(static_cast<size_t>(call.batch.sequences + total / step));
  for (int32_t s = 0; s < call.batch.sequences; ++s) add_tiles(call, s, plan);
  int64_t work = 0;
  for (const AttentionTile& tile : plan.tiles) work += work_of(tile) * call.kv.kv_heads;
  for (AttentionTile& tile : plan.tiles) {
    number_units(call, tile, tile.splits > 1 && work_of(tile) > work / kEnoughUnits, plan);
  }
  return plan;
}

void attention_unit(Simd simd, const AttentionCall& call, const AttentionPlan& plan, int32_t unit,
                    int32_t next, uint8_t* scratch) {
  kernels(simd, call.kv.type)
      .unit(call, find_unit(call, plan, unit), find_unit(call, plan, next), scratch);
}

void attention_merge(Simd simd, const AttentionCall& call, const AttentionPlan& plan, int32_t merge,
                     uint8_t* scratch) {
  const AttentionTile& tile = find_tile(plan, &AttentionTile::first_merge, merge);
  kernels(simd, call.kv.type).merge(call, tile, merge - tile.first_merge, scratch);
}

}  // namespace legato
