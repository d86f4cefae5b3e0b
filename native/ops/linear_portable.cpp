// Plain C++: correct everywhere, fast where the compiler vectorises 16-lane loops.
#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_plain.h"

namespace legato {
namespace {

struct Portable : PlainQuantise {
  struct F {
    float lane[16];
  };
  struct I {
    int32_t lane[16];
  };
  static constexpr int kRows = 4;
  static constexpr bool kTileInRegisters = false;

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

  // Weights count from their zero point. Sums of 16 products with all digits stay below 2^24,
  // where f32 is exact: it has vector multiplications everywhere, which 8-bit integers have not.
  template <Format Kind>
  struct Block {
    float line[kGroups][kLineBytes];
    F scale, min;
    I half_scale[2];
  };

  template <Format Kind>
  struct Decoded {};  // Block keeps its lines in memory

  template <Format Kind, Digits D>
  static Block<Kind> load_block(const BlockAddress& at, Decoded<Kind>&) {
    return decode_block<Kind>(at);
  }
  template <Format Kind>
  static __attribute__((noinline)) Block<Kind> decode_block(const BlockAddress& at) {
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

  static F add_digit(const F& sum, const F& digit, int bits) {
    return fma(digit, broadcast(static_cast<float>(1 << bits)), sum);
  }
  // Sixteen columns with their high digits.
  template <Digits D>
  static F dot_half(const float (*line)[kLineBytes], const int8_t* q, const int8_t* high) {
    const F sum = dot_groups<4>(line, q);
    if constexpr (D == Digits::High) return add_digit(sum, dot_groups<4>(line, high), kHighBits);
    else return sum;
  }
  static F scaled(const F& sum, const I& scale) {  // at most 16 * 32 * 16319 * 128 < 2^31
    return floats([&](int r) {
      return static_cast<float>(static_cast<int32_t>(sum.lane[r]) * scale.lane[r]);
    });
  }

  template <Format Kind, Digits D>
  static __attribute__((noinline)) F dot(const Block<Kind>& block, const ActivationBlock& a,
                                         const int8_t* high) {
    F half[2] = {dot_half<D>(block.line, a.q, high),
                 dot_half<D>(block.line + 4, a.q + 16, high + 16)};
    if constexpr (D == Digits::Spike) {
      F& sum = half[a.group / 4];
      sum = add_digit(sum, dot_groups<1>(block.line + a.group, a.spike), kSpikeBits);
    }
    if constexpr (Kind == Format::Q6_K) {
      for (int i = 0; i < 2; ++i) half[i] = scaled(half[i], block.half_scale[i]);
    }
    return add(half[0], half[1]);
  }

  template <Format Kind>
  static F load_floats(const uint8_t* weights) {
    return floats([=](int r) { return float_at(Kind, weights, r); });
  }

  template <int, Ahead>
  static void prefetch(const uint8_t*) {}
};

}  // namespace

const LinearKernels kPortableLinear = {multiply<Portable>, quantise<Portable>};

}  // namespace legato
