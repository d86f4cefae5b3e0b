// Self-check of packing, quantising and the linear kernels on every path this machine can run.
//
// Built as CMakeLists.txt says. Prints one line a path; exits 1 at the first wrong value.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "../ops/activations.h"
#include "../ops/linear.h"
#include "../simd.h"
#include "file_blocks.h"

namespace legato {
namespace {

using Floats = std::vector<float>;

void check(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "linear_test: %s\n", what.c_str());
  std::exit(1);
}

struct Aligned {
  explicit Aligned(int64_t bytes)
      : data(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {}
  Aligned(const Aligned&) = delete;
  ~Aligned() { std::free(data); }
  uint8_t* data;
};

struct Case {
  Case(Format kind, int64_t row_count, int64_t column_count)
      : file(random_file(kind, row_count, column_count)),
        memory(packed_bytes(kind, row_count, column_count)),
        weight{kind, row_count, column_count, memory.data},
        values(dequantise(file)) {
    const int64_t half = weight.panels() / 2;
    pack_panels(kind, file.bytes.data(), row_count, column_count, memory.data, half,
                weight.panels());
    pack_panels(kind, file.bytes.data(), row_count, column_count, memory.data, 0, half);
  }
  File file;
  Aligned memory;
  PackedWeight weight;
  Floats values;
};

// Rows like those of a model, small values with a few large ones; every third row has the largest
// digits everywhere.
Floats random_activations(int64_t rows, int64_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  Floats x(rows * columns);
  for (float& value : x) value = normal(random) * (random() % 40 == 0 ? 12.0f : 1.0f);
  for (int64_t row = 2; row < rows; row += 3) {
    for (int64_t k = row * columns; k < (row + 1) * columns; ++k) x[k] = std::copysign(3.0f, x[k]);
  }
  for (int64_t k = 0; k < 32; ++k) x[k] = 0.0f;
  return x;
}

struct Activations {
  Activations(Simd simd, Precision kind, const Floats& x, int64_t m, int64_t columns)
      : precision(kind), rows(m), width(columns), memory(quantised_bytes(m, columns)) {
    for (int64_t row = 0; row < m; ++row) {
      const int64_t middle = columns / kQuantBlock / 2 * kQuantBlock;
      const float* from = x.data() + row * columns;
      quantise_row(simd, precision, from, row, middle, columns, m, columns, memory.data);
      quantise_row(simd, precision, from, row, 0, middle, m, columns, memory.data);
    }
  }
  // What the digits stand for.
  double at(int64_t row, int64_t column) const {
    const ActivationTile tile = activation_tile(memory.data, rows, width, row / kTileRows);
    const int64_t entry = column / kQuantBlock * tile.rows + row % kTileRows;
    const int64_t place = column % kQuantBlock;
    const ActivationBlock& block = tile.blocks[entry];
    int q = block.q[place];
    if (precision == Precision::Exact) q += 128 * tile.high[entry * kQuantBlock + place];
    if (block.group == place / 4) q += 16 * block.spike[place % 4];
    return double(block.scale) * q;
  }
  Precision precision;
  int64_t rows, width;
  Aligned memory;
};

void check_round_trip(const Case& item) {
  Floats unpacked(item.values.size());
  unpack_panels(item.weight, unpacked.data());
  check(!std::memcmp(unpacked.data(), item.values.data(), 4 * unpacked.size()),
        "panels of " + name_of(item.weight.format) + " do not unpack to the file's values");
}

// How far a value of the block may be from what its digits stand for.
double half_step(Precision precision, const float* x) {
  float group[kQuantBlock / 4] = {};
  for (int k = 0; k < kQuantBlock; ++k) group[k / 4] = std::fmax(group[k / 4], std::fabs(x[k]));
  std::sort(group, group + kQuantBlock / 4);
  const double most = group[kQuantBlock / 4 - 1], rest = group[kQuantBlock / 4 - 2];
  if (precision == Precision::Fast) return most / 120 / 2;
  if (precision == Precision::Exact) return most / 16319 / 2;
  return std::fmax(rest / 120, most / 2039) / 2;
}

void check_quantised(Simd simd, const Floats& x, int64_t m, int64_t columns) {
  for (Precision precision : {Precision::Fast, Precision::Balanced, Precision::Exact}) {
    const Activations a(simd, precision, x, m, columns);
    for (int64_t i = 0; i < m * columns; ++i) {
      const double error = std::fabs(a.at(i / columns, i % columns) - x[i]);
      const double bound = half_step(precision, x.data() + i / kQuantBlock * kQuantBlock);
      check(error <= bound * 1.002, "an activation is rounded by more than half a step");
    }
  }
}

Floats run(Simd simd, const Case& item, const Activations* a, const Floats& x, int64_t m,
           const float* bias = nullptr, const float* addend = nullptr) {
  const PackedWeight& weight = item.weight;
  Floats out(m * weight.rows, std::numeric_limits<float>::quiet_NaN());
  const LinearCall call{&weight,
                        a ? a->memory.data : nullptr,
                        a ? a->precision : Precision::Exact,
                        x.data(),
                        weight.columns,
                        m,
                        bias,
                        addend,
                        out.data(),
                        weight.rows};
  const int64_t cut = m % weight.panels();  // another split of the panels for every m
  linear(simd, call, cut, weight.panels());
  linear(simd, call, 0, cut);
  return out;
}

// Against double arithmetic on what the digits and the file's weights stand for.
void check_values(const Case& item, const Activations* a, const Floats& x, const Floats& out,
                  int64_t m, const std::string& where) {
  const int64_t columns = item.weight.columns, rows = item.weight.rows;
  for (int64_t i = 0; i < m * rows; ++i) {
    double sum = 0.0, size = 0.0;
    for (int64_t k = 0; k < columns; ++k) {
      const double value = a ? a->at(i / rows, k) : x[i / rows * columns + k];
      const double term = value * item.values[i % rows * columns + k];
      sum += term;
      size += std::fabs(term);
    }
    check(std::fabs(out[i] - sum) <= 4e-6 * size,
          where + ": output " + std::to_string(i) + " is " + std::to_string(out[i]) + ", not " +
              std::to_string(sum));
  }
}

void check_rows_alone(Simd simd, Precision precision, const Case& item, const Floats& x,
                      const Floats& all, bool blocks, const std::string& where) {
  const int64_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 33, 64};
  for (int64_t m : counts) {
    const Activations a(simd, precision, x, blocks ? m : 0, item.weight.columns);
    const Floats out = run(simd, item, blocks ? &a : nullptr, x, m);
    check(!std::memcmp(out.data(), all.data(), 4 * out.size()),
          where + ": rows depend on how many there are, at m = " + std::to_string(m));
  }
}

void check_added(Simd simd, const Case& item, const Activations* a, const Floats& x,
                 const Floats& plain, int64_t m, const std::string& where) {
  const Floats bias = random_activations(1, item.weight.rows);
  const Floats addend = random_activations(m, item.weight.rows);
  const Floats out = run(simd, item, a, x, m, bias.data(), addend.data());
  for (size_t i = 0; i < out.size(); ++i) {
    const float biased = plain[i] + bias[i % bias.size()];
    check(out[i] == biased + addend[i], where + ": bias or addend are not added last");
  }
}

void check_case(Simd simd, const Case& item) {
  constexpr int64_t m = 100;
  const bool blocks = is_block_format(item.weight.format);
  const Floats x = random_activations(m, item.weight.columns);
  for (Precision precision : {Precision::Fast, Precision::Balanced, Precision::Exact}) {
    const std::string where = name_of(item.weight.format) + ", path " +
                              std::to_string(int(simd)) + ", precision " +
                              std::to_string(int(precision));
    const Activations a(simd, precision, x, blocks ? m : 0, item.weight.columns);
    const Activations* quantised = blocks ? &a : nullptr;
    const Floats all = run(simd, item, quantised, x, m);
    check_values(item, quantised, x, all, m, where);
    check_rows_alone(simd, precision, item, x, all, blocks, where);
    check_added(simd, item, quantised, x, all, m, where);
    if (!blocks) return;
  }
}

// Neither a NaN nor an infinity may vanish, and neither may leave its row.
void check_not_finite(Simd simd) {
  const Case item(Format::Q4_1, 21, 96);
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Floats x = random_activations(3, 96);
    const Activations good(simd, Precision::Balanced, x, 3, 96);
    const Floats before = run(simd, item, &good, x, 3);
    x[96 + 40] = bad;
    const Activations spoilt(simd, Precision::Balanced, x, 3, 96);
    const Floats after = run(simd, item, &spoilt, x, 3);
    for (int64_t i = 0; i < 3 * 21; ++i) {
      check(i / 21 == 1 ? std::isnan(after[i]) : after[i] == before[i], "a NaN went astray");
    }
  }
}

void check_path(Simd simd) {
  check_quantised(simd, random_activations(19, 288), 19, 288);
  check_not_finite(simd);
  for (Format format : kFormats) {
    const int64_t unit = is_k_quant(format) ? 256 : 32;
    check_case(simd, Case(format, 16 * 3, unit));
    check_case(simd, Case(format, 16 * 6 + 5, is_block_format(format) ? 3 * unit : 77));
  }
  std::printf("path %d: right\n", int(simd));
}

}  // namespace
}  // namespace legato

int main() {
  using namespace legato;
  for (Format format : kFormats) {
    check_round_trip(Case(format, 37, is_k_quant(format) ? 512 : 96));
    if (!is_block_format(format)) check_round_trip(Case(format, 5, 7));
  }
  for (int path = 0; path <= int(best_simd()); ++path) check_path(Simd(path));
  std::printf("linear: all passed\n");
  return 0;
}
