// AVX2: 8-bit products are summed in 16 bits as far as they fit, then in 32.
#include <immintrin.h>

#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_tile.h"

namespace legato {
namespace {

struct Avx2 {
  struct F {  // rows 0..7 and 8..15
    __m256 a, b;
  };
  struct I {
    __m256i a, b;
  };
  static constexpr int kRows = 3;
  static constexpr bool kWholeTile = false;

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
  static float sum(F value) {
    const __m256 eight = _mm256_add_ps(value.a, value.b);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(four) + _mm_cvtss_f32(_mm_movehdup_ps(four));
  }
  static float largest(F x, F y) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256 low = _mm256_max_ps(_mm256_and_ps(x.a, magnitude), _mm256_and_ps(x.b, magnitude));
    const __m256 high = _mm256_max_ps(_mm256_and_ps(y.a, magnitude), _mm256_and_ps(y.b, magnitude));
    const __m256 eight = _mm256_max_ps(low, high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  }

  // 16 numbers to the nearest integers, ties to even, as int16.
  static __m256i nearest(F value) {
    const __m256i words =
        _mm256_packs_epi32(_mm256_cvtps_epi32(value.a), _mm256_cvtps_epi32(value.b));
    return _mm256_permute4x64_epi64(words, 0xD8);  // packing works within 128-bit halves
  }
  static I round(F first, F second) { return {nearest(first), nearest(second)}; }
  // q / 2^shift, to the nearest integer, halves upwards; and what that leaves of q.
  static I upper_part(I q, int shift) {
    const __m256i half = _mm256_set1_epi16(static_cast<int16_t>((1 << shift) >> 1));
    const __m128i count = _mm_cvtsi32_si128(shift);
    return {_mm256_sra_epi16(_mm256_add_epi16(q.a, half), count),
            _mm256_sra_epi16(_mm256_add_epi16(q.b, half), count)};
  }
  static I lower_part(I q, I upper, int shift) {
    const __m128i count = _mm_cvtsi32_si128(shift);
    return {_mm256_sub_epi16(q.a, _mm256_sll_epi16(upper.a, count)),
            _mm256_sub_epi16(q.b, _mm256_sll_epi16(upper.b, count))};
  }
  static void write_bytes(int8_t* out, I words) {
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(words.a, words.b), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
  }
  static int32_t sum(__m256i words) {
    const __m256i eight = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
  }
  // Minus the sums of the halves of both planes; returns the sum of 128 high + low.
  static int32_t write_sums(int32_t* minus, I high, I low) {
    minus[0] = -sum(high.a);
    minus[1] = -sum(high.b);
    minus[2] = -sum(low.a);
    minus[3] = -sum(low.b);
    return -(128 * (minus[0] + minus[1]) + minus[2] + minus[3]);
  }

  template <Format Kind>
  struct Block {
    I line[kGroups];
    F scale, min;
    I half_scale[2];
  };

  static __m256i load32(const uint8_t* bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  }
  static __m128i load16(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }
  static __m128i load8(const uint8_t* bytes) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
  }
  static I line_at(const uint8_t* bytes) { return {load32(bytes), load32(bytes + 32)}; }
  static F halves(const uint8_t* bytes) {
    return {_mm256_cvtph_ps(load16(bytes)), _mm256_cvtph_ps(load16(bytes + 16))};
  }
  static F unsigned_bytes(const uint8_t* bytes) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(bytes))),
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(bytes + 8)))};
  }
  static I signed_bytes(const uint8_t* bytes) {
    return {_mm256_cvtepi8_epi32(load8(bytes)), _mm256_cvtepi8_epi32(load8(bytes + 8))};
  }

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
  static void load_lines(const uint8_t* quants, I* line) {
    line[G] = {half_group<Kind, G>(quants), half_group<Kind, G>(quants + 32)};
    if constexpr (G + 1 < kGroups) load_lines<Kind, G + 1>(quants, line);
  }

  template <Format Kind>
  static Block<Kind> load_block(const BlockAddress& at) {
    constexpr Layout layout = layout_of(Kind);
    Block<Kind> block;
    load_lines<Kind, 0>(at.quants, block.line);
    if constexpr (Kind == Format::Q6_K) {
      block.scale = halves(at.header);
      block.half_scale[0] = signed_bytes(at.scales);
      block.half_scale[1] = signed_bytes(at.scales + 16);
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
  static __m256i dot_bytes(__m256i sum, const __m256i* weights, const int8_t* a) {
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
    for (int g = 0; g < 4; ++g) {
      const __m256i four = four_at(a + 4 * g);
      const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(weights[g], 4), nibble);
      const __m256i lower = _mm256_and_si256(weights[g], nibble);
      low = _mm256_add_epi16(low, _mm256_maddubs_epi16(lower, four));
      high = _mm256_add_epi16(high, _mm256_maddubs_epi16(upper, four));
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
  }

  template <Format Kind>
  static __m256i dot_half(__m256i sum, const __m256i* weights, const int8_t* a) {
    constexpr int bits = layout_of(Kind).bits;
    if constexpr (bits == 8) return dot_bytes(sum, weights, a);
    else if constexpr (bits < 6) return dot_groups<4>(sum, weights, a);
    else return dot_groups<2>(dot_groups<2>(sum, weights, a), weights + 2, a + 8);
  }

  // Eight rows against a whole block; the halves are scaled apart where a format asks for it.
  template <Format Kind>
  static __m256 dot_rows(const __m256i* weights, const int8_t* a, const int32_t* start,
                         __m256i first_scale, __m256i second_scale) {
    constexpr int zero = layout_of(Kind).zero;
    __m256i first = dot_half<Kind>(_mm256_set1_epi32(zero * start[0]), weights, a);
    __m256i second = dot_half<Kind>(_mm256_set1_epi32(zero * start[1]), weights + 4, a + 16);
    if constexpr (Kind == Format::Q6_K) {
      first = _mm256_mullo_epi32(first, first_scale);
      second = _mm256_mullo_epi32(second, second_scale);
    }
    return _mm256_cvtepi32_ps(_mm256_add_epi32(first, second));
  }

  template <Format Kind>
  static F dot(const Block<Kind>& block, const int8_t* a, const int32_t* start) {
    __m256i low[kGroups], high[kGroups];
    for (int g = 0; g < kGroups; ++g) {
      low[g] = block.line[g].a;
      high[g] = block.line[g].b;
    }
    const I* scale = block.half_scale;
    return {dot_rows<Kind>(low, a, start, scale[0].a, scale[1].a),
            dot_rows<Kind>(high, a, start, scale[0].b, scale[1].b)};
  }

  template <int Rows>
  static uint32_t wide_rows(const uint8_t* wide) {
    return static_cast<uint32_t>(_mm_movemask_epi8(load16(wide))) & ((1u << Rows) - 1);
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
  template <int Bytes>
  static __attribute__((always_inline)) void prefetch(const uint8_t* weights) {
    for (int i = 0; i < Bytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + i, _MM_HINT_T0);
    }
  }
};

}  // namespace

const LinearKernels kAvx2Linear = {multiply<Avx2>, quantise<Avx2>};

}  // namespace legato
