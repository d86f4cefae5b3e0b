// AVX2: 8-bit products are summed in 16 bits as far as they fit, then in 32.
#include <immintrin.h>

#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_plain.h"

namespace legato {
namespace {

struct Avx2 : PlainQuantise {
  struct F {  // rows 0..7 and 8..15
    __m256 a, b;
  };
  static constexpr int kRows = 4;
  static constexpr bool kTileInRegisters = false;

  static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
  static F load_first(const float* x, int lanes) {
    float all[16] = {};
    std::memcpy(all, x, sizeof(float) * static_cast<size_t>(lanes));
    return load(all);
  }
  static void store_first(float* out, int lanes, F value) {
    float all[16];
    _mm256_storeu_ps(all, value.a);
    _mm256_storeu_ps(all + 8, value.b);
    std::memcpy(out, all, sizeof(float) * static_cast<size_t>(lanes));
  }
  static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
  static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
  static F fma(F x, F y, F z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
  }

  template <Format Kind>
  struct Block {
    __m256i line[2][kGroups];  // rows 0..7 and 8..15
    F scale, min;
    __m256i half_scale[2][2];  // the same
  };
  template <Format Kind>
  struct Decoded {};  // Block keeps its lines in memory

  static __m256i load32(const uint8_t* bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  }
  static __m128i load16(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }
  static __m128i load8(const uint8_t* bytes) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  }
  static F halves(const uint8_t* bytes) {
    return {_mm256_cvtph_ps(load16(bytes)), _mm256_cvtph_ps(load16(bytes + 16))};
  }
  static F unsigned_bytes(const uint8_t* bytes) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(bytes))),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(bytes + 8)))};
  }
  static __m256i signed_bytes(const uint8_t* bytes) { return _mm256_cvtepi8_epi32(load8(bytes)); }

  // Bits move by `Left` (to the right when negative) and those of `mask` are kept.
  template <int Left>
  static __m256i moved(__m256i bits, __m256i mask) {
    if constexpr (Left >= 0) return _mm256_and_si256(_mm256_slli_epi16(bits, Left), mask);
    else return _mm256_and_si256(_mm256_srli_epi16(bits, -Left), mask);
  }

  // Group G of 32 bytes of a line that begin at `at` in every line.
  template <Format Kind, int G>
  static __m256i half_group(const uint8_t* at) {
    constexpr int bits = layout_of(Kind).bits;
    if constexpr (bits == 8) return load32(at + G * kLineBytes);
    constexpr int nibble_shift = G % 2 ? -4 : 0;
    __m256i value = moved<nibble_shift>(load32(at + G / 2 * kLineBytes), _mm256_set1_epi8(15));
    if constexpr (bits == 5) {
      const __m256i plane = load32(at + 4 * kLineBytes);
      value = _mm256_or_si256(value, moved<4 - G>(plane, _mm256_set1_epi8(16)));
    }
    if constexpr (bits == 6) {
      const __m256i plane = load32(at + (4 + G / 4) * kLineBytes);
      value = _mm256_or_si256(value, moved<4 - 2 * (G % 4)>(plane, _mm256_set1_epi8(48)));
    }
    return value;
  }
  template <Format Kind, int G>
  static void load_lines(const uint8_t* quants, Block<Kind>& block) {
    block.line[0][G] = half_group<Kind, G>(quants);
    block.line[1][G] = half_group<Kind, G>(quants + 32);
    if constexpr (G + 1 < kGroups) load_lines<Kind, G + 1>(quants, block);
  }

  template <Format Kind, Digits D>
  static Block<Kind> load_block(const BlockAddress& at, Decoded<Kind>&) {
    constexpr Layout layout = layout_of(Kind);
    Block<Kind> block;
    load_lines<Kind, 0>(at.quants, block);
    if constexpr (Kind == Format::Q6_K) {
      block.scale = halves(at.header);
      for (int half = 0; half < 2; ++half) {
        block.half_scale[0][half] = signed_bytes(at.scales + 16 * half);
        block.half_scale[1][half] = signed_bytes(at.scales + 16 * half + 8);
      }
    } else if constexpr (layout.blocks == 8) {
      block.scale = mul(halves(at.header), unsigned_bytes(at.scales));
      const F min = mul(halves(at.header + 32), unsigned_bytes(at.scales + 16));
      block.min = {_mm256_sub_ps(_mm256_setzero_ps(), min.a),
                   _mm256_sub_ps(_mm256_setzero_ps(), min.b)};
    } else {
      block.scale = halves(at.scales);
      if constexpr (layout.has_min) block.min = halves(at.scales + 32);
    }
    return block;
  }

  static __m256i four_at(const int8_t* a) {
    int32_t four;
    std::memcpy(&four, a, 4);
    return _mm256_set1_epi32(four);
  }

  // sum + the products of Count groups: at most Count * 2 * 63 * 127 in 16 bits.
  template <int Count>
  static __m256i dot_groups(__m256i sum, const __m256i* weights, const int8_t* a) {
    __m256i words = _mm256_maddubs_epi16(weights[0], four_at(a));
    for (int g = 1; g < Count; ++g) {
      words = _mm256_add_epi16(words, _mm256_maddubs_epi16(weights[g], four_at(a + 4 * g)));
    }
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
  }

  // Eight-bit weights do not fit maddubs: their nibbles do.
  template <int Count>
  static __m256i dot_bytes(__m256i sum, const __m256i* weights, const int8_t* a) {
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    for (int g = 0; g < Count; ++g) {
      const __m256i four = four_at(a + 4 * g);
      const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(weights[g], 4), nibble);
      const __m256i lower = _mm256_and_si256(weights[g], nibble);
      low = _mm256_add_epi16(low, _mm256_maddubs_epi16(lower, four));
      high = _mm256_add_epi16(high, _mm256_maddubs_epi16(upper, four));
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
  }

  // sum + the products of Count groups, as many at once as 16 bits hold.
  template <Format Kind, int Count>
  static __m256i dot_columns(__m256i sum, const __m256i* weights, const int8_t* a) {
    constexpr int bits = layout_of(Kind).bits;
    constexpr int most = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : Count;
    constexpr int now = Count < most ? Count : most;
    if constexpr (bits == 8) sum = dot_bytes<now>(sum, weights, a);
    else sum = dot_groups<now>(sum, weights, a);
    if constexpr (now == Count) return sum;
    else return dot_columns<Kind, Count - now>(sum, weights + now, a + 4 * now);
  }
  // The same with their high digits.
  template <Format Kind, Digits D, int Count>
  static __m256i dot_digits(__m256i sum, const __m256i* weights, const int8_t* a,
                            const int8_t* high) {
    if constexpr (D == Digits::High) {
      const __m256i upper = dot_columns<Kind, Count>(_mm256_setzero_si256(), weights, high);
      sum = _mm256_add_epi32(sum, _mm256_slli_epi32(upper, kHighBits));
    }
    return dot_columns<Kind, Count>(sum, weights, a);
  }
  template <Format Kind>
  static __m256i dot_spike(const __m256i* line, const ActivationBlock& a) {
    constexpr int bits = layout_of(Kind).bits;
    if constexpr (bits < 8) {
      const __m256i words = _mm256_maddubs_epi16(*line, four_at(a.spike));
      return _mm256_madd_epi16(words, _mm256_set1_epi16(1 << kSpikeBits));
    } else {
      const __m256i sum = dot_columns<Kind, 1>(_mm256_setzero_si256(), line, a.spike);
      return _mm256_slli_epi32(sum, kSpikeBits);
    }
  }
  static __m256i splat(int value) { return _mm256_set1_epi32(value); }

  // Eight rows against a whole block.
  template <Format Kind, Digits D>
  static __m256i dot_whole(const __m256i* weights, const __m256i* lines, const ActivationBlock& a,
                           const int8_t* high) {
    __m256i sum = splat(layout_of(Kind).zero * a.minus);
    if constexpr (D == Digits::Spike) sum = _mm256_add_epi32(sum, dot_spike<Kind>(lines + a.group, a));
    return dot_digits<Kind, D, kGroups>(sum, weights, a.q, high);
  }
  // The same where columns 0..15 and 16..31 have scales of their own.
  template <Format Kind, Digits D>
  static __m256i dot_halves(const __m256i* weights, const __m256i* lines, const __m256i* scale,
                            const ActivationBlock& a, const int8_t* high) {
    constexpr int zero = layout_of(Kind).zero, count = kGroups / 2;
    const __m256i first = dot_digits<Kind, D, count>(splat(zero * a.minus_half[0]), weights, a.q, high);
    const __m256i second = dot_digits<Kind, D, count>(splat(zero * a.minus_half[1]), weights + count,
                                                      a.q + 16, high + 16);
    __m256i sum = _mm256_add_epi32(_mm256_mullo_epi32(first, scale[0]),
                                   _mm256_mullo_epi32(second, scale[1]));
    if constexpr (D == Digits::Spike) {
      const __m256i spike = dot_spike<Kind>(lines + a.group, a);
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(spike, scale[a.group / count]));
    }
    return sum;
  }

  // Eight rows of the panel, whose lines stay in registers, against rows of activations.
  template <Format Kind, Digits D, int Half>
  static inline __attribute__((always_inline)) void add_half(const Block<Kind>& block,
                                                             const ActivationTile& tile,
                                                             int64_t entry, int64_t rows, F* sum) {
    const auto part = [](auto& both) -> auto& {
      if constexpr (Half == 0) return both.a;
      else return both.b;
    };
    __m256i weights[kGroups];
    for (int g = 0; g < kGroups; ++g) weights[g] = block.line[Half][g];
    const __m256 block_scale = part(block.scale);
#pragma GCC unroll 1
    for (int64_t r = 0; r < rows; ++r) {
      const ActivationBlock& a = tile.blocks[entry + r];
      const int8_t* high = tile.high + (entry + r) * kQuantBlock;
      __m256i dot;
      if constexpr (Kind == Format::Q6_K) {
        dot = dot_halves<Kind, D>(weights, block.line[Half], block.half_scale[Half], a, high);
      } else {
        dot = dot_whole<Kind, D>(weights, block.line[Half], a, high);
      }
      const __m256 scale = _mm256_mul_ps(block_scale, _mm256_set1_ps(a.scale));
      __m256 value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, part(sum[r]));
      if constexpr (layout_of(Kind).has_min) {
        value = _mm256_fmadd_ps(part(block.min), _mm256_set1_ps(a.sum), value);
      }
      part(sum[r]) = value;
    }
  }
  template <Format Kind, Digits D>
  static inline __attribute__((always_inline)) void add_rows(const Block<Kind>& block,
                                                             const ActivationTile& tile,
                                                             int64_t entry, F* sum) {
    add_half<Kind, D, 0>(block, tile, entry, tile.rows, sum);
    add_half<Kind, D, 1>(block, tile, entry, tile.rows, sum);
  }
  template <Format Kind, Digits D, int R>
  static inline __attribute__((always_inline)) void add_block(const Block<Kind>& block,
                                                              const ActivationTile& tile,
                                                              int64_t entry, F* sum) {
    add_half<Kind, D, 0>(block, tile, entry, R, sum);
    add_half<Kind, D, 1>(block, tile, entry, R, sum);
  }

  template <Format Kind>
  static F load_floats(const uint8_t* weights) {
    if constexpr (Kind == Format::F32) {
      return load(reinterpret_cast<const float*>(weights));
    } else if constexpr (Kind == Format::F16) {
      return halves(weights);
    } else {
      const __m256i low = _mm256_cvtepu16_epi32(load16(weights));
      const __m256i high = _mm256_cvtepu16_epi32(load16(weights + 16));
      return {_mm256_castsi256_ps(_mm256_slli_epi32(low, 16)),
              _mm256_castsi256_ps(_mm256_slli_epi32(high, 16))};
    }
  }

  // Inlined by force: GCC takes a function that only prefetches for one without effect.
  template <int Bytes, Ahead A>
  static __attribute__((always_inline)) void prefetch(const uint8_t* weights) {
    constexpr _mm_hint hint = A == Ahead::Near ? _MM_HINT_T0 : _MM_HINT_T1;
#pragma GCC unroll 16
    for (int i = 0; i < Bytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(weights) + bytes_ahead(A) + i, hint);
    }
  }
};

}  // namespace

const LinearKernels kAvx2Linear = {multiply<Avx2>, quantise<Avx2>};

}  // namespace legato
