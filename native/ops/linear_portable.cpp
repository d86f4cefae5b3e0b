// Plain C++: correct everywhere, fast where the compiler vectorises 16-lane loops.
#include <cmath>

#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_tile.h"

namespace legato {
namespace {

struct Portable {
  struct F {
    float lane[16];
  };
  struct I {
    int32_t lane[16];
  };
  static constexpr int kRows = 4;
  static constexpr bool kWholeTile = false;

  template <class Lane>
  static F floats(Lane lane) {
    F out;
    for (int i = 0; i < 16; ++i) out.lane[i] = lane(i);
    return out;
  }
  template <class Lane>
  static I ints(Lane lane) {
    I out;
    for (int i = 0; i < 16; ++i) out.lane[i] = lane(i);
    return out;
  }

  static F zero() { return broadcast(0.0f); }
  static F broadcast(float x) {
    return floats([=](int) { return x; });
  }
  static F load(const float* x) {
    return floats([=](int i) { return x[i]; });
  }
  static F load_first(const float* x, int lanes) {
    return floats([=](int i) { return i < lanes ? x[i] : 0.0f; });
  }
  static void store_first(float* out, int lanes, const F& value) {
    for (int i = 0; i < lanes; ++i) out[i] = value.lane[i];
  }
  static F add(const F& a, const F& b) {
    return floats([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static F mul(const F& a, const F& b) {
    return floats([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static F fma(const F& a, const F& b, const F& c) { return add(mul(a, b), c); }
  static float sum(const F& value) {
    F part = value;
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) part.lane[i] += part.lane[i + half];
    }
    return part.lane[0];
  }
  static float largest(const F& a, const F& b) {
    float most = 0.0f;
    for (int i = 0; i < 16; ++i) {
      most = std::fmax(most, std::fmax(std::fabs(a.lane[i]), std::fabs(b.lane[i])));
    }
    return most;
  }

  // One block of activations as integers.
  struct Words {
    int32_t column[kQuantBlock];
  };

  // To the nearest integer, ties to even: adding 1.5 * 2^23 leaves no bits for a fraction.
  static Words round(const F& first, const F& second) {
    constexpr float shift = 12582912.0f;
    Words out;
    for (int i = 0; i < 16; ++i) {
      out.column[i] = static_cast<int32_t>((first.lane[i] + shift) - shift);
      out.column[16 + i] = static_cast<int32_t>((second.lane[i] + shift) - shift);
    }
    return out;
  }
  // q / 2^shift, to the nearest integer, halves upwards; and what that leaves of q.
  static Words upper_part(const Words& q, int shift) {
    Words out;
    const int half = (1 << shift) >> 1;
    for (int i = 0; i < kQuantBlock; ++i) out.column[i] = (q.column[i] + half) >> shift;
    return out;
  }
  static Words lower_part(const Words& q, const Words& upper, int shift) {
    Words out;
    const int step = 1 << shift;
    for (int i = 0; i < kQuantBlock; ++i) out.column[i] = q.column[i] - upper.column[i] * step;
    return out;
  }
  static void write_bytes(int8_t* out, const Words& words) {
    for (int i = 0; i < kQuantBlock; ++i) out[i] = static_cast<int8_t>(words.column[i]);
  }
  // Minus the sums of the halves of both planes; returns the sum of 128 high + low.
  static int32_t write_sums(int32_t* minus, const Words& high, const Words& low) {
    for (int i = 0; i < 4; ++i) minus[i] = 0;
    for (int i = 0; i < kQuantBlock; ++i) {
      minus[i / 16] -= high.column[i];
      minus[2 + i / 16] -= low.column[i];
    }
    return -(128 * (minus[0] + minus[1]) + minus[2] + minus[3]);
  }

  // Weights count from their zero point. Sums of their products with int8 stay below 2^24, where
  // f32 is exact: it has vector multiplications everywhere, which 8-bit integers have not.
  template <Format Kind>
  struct Block {
    float line[kGroups][kLineBytes];
    F scale, min;
    I half_scale[2];
  };

  template <Format Kind>
  static __attribute__((noinline)) Block<Kind> load_block(const BlockAddress& at) {
    Block<Kind> block;
    for (int g = 0; g < kGroups; ++g) {
      uint8_t line[kLineBytes];
      decode_group<Kind>(at.quants, g, line);
      for (int i = 0; i < kLineBytes; ++i) {
        block.line[g][i] = static_cast<float>(line[i] - layout_of(Kind).zero);
      }
    }
    if constexpr (Kind == Format::Q6_K) {
      block.scale = floats([&](int r) { return half_at(at.header, r); });
      for (int half = 0; half < 2; ++half) {
        block.half_scale[half] = ints([&](int r) { return int8_t(at.scales[16 * half + r]); });
      }
    } else {
      block.scale = floats([&](int r) { return scale_of<Kind>(at, r, 0); });
    }
    block.min = floats([&](int r) { return min_of<Kind>(at, r); });
    return block;
  }

  // Count column groups against all 16 rows: a vector holds one row's four columns of a group.
  template <int Count>
  static F dot_groups(const float (*line)[kLineBytes], const int8_t* a) {
    typedef float Four __attribute__((vector_size(16)));
    F out;
    for (int rows = 0; rows < 16; rows += 8) {  // eight sums fit the registers of any processor
      Four sum[8] = {};
      for (int g = 0; g < Count; ++g, a += 4) {
        const Four x = {float(a[0]), float(a[1]), float(a[2]), float(a[3])};
        for (int r = 0; r < 8; ++r) {
          Four weights;
          std::memcpy(&weights, line[g] + 4 * (rows + r), sizeof weights);
          sum[r] += weights * x;
        }
      }
      a -= 4 * Count;
      for (int r = 0; r < 8; ++r) {
        out.lane[rows + r] = (sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]);
      }
    }
    return out;
  }

  template <Format Kind>
  static __attribute__((noinline)) F dot(const Block<Kind>& block, const int8_t* a,
                                         const int32_t*) {
    if constexpr (Kind == Format::Q6_K) {
      const F first = dot_groups<4>(block.line, a), second = dot_groups<4>(block.line + 4, a + 16);
      return floats([&](int r) {
        const auto low = static_cast<int32_t>(first.lane[r]) * block.half_scale[0].lane[r];
        const auto high = static_cast<int32_t>(second.lane[r]) * block.half_scale[1].lane[r];
        return static_cast<float>(low + high);
      });
    } else {
      return dot_groups<8>(block.line, a);
    }
  }

  template <int Rows>
  static uint32_t wide_rows(const uint8_t* wide) {
    uint32_t mask = 0;
    for (int r = 0; r < Rows; ++r) mask |= static_cast<uint32_t>(wide[r] & 1) << r;
    return mask;
  }

  template <Format Kind>
  static F load_floats(const uint8_t* weights) {
    return floats([=](int r) { return float_at(Kind, weights, r); });
  }

  template <int Bytes>
  static void prefetch(const uint8_t*) {}
};

}  // namespace

const LinearKernels kPortableLinear = {multiply<Portable>, quantise<Portable>};

}  // namespace legato
