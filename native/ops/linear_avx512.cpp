// AVX-512 with VNNI: one vpdpbusd multiplies 16 rows by four columns.
#include <immintrin.h>

#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_tile.h"

namespace legato {
namespace {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int kRows = 8;
  static constexpr bool kWholeTile = true;

  static F zero() { return _mm512_setzero_ps(); }
  static F broadcast(float x) { return _mm512_set1_ps(x); }
  static F load(const float* x) { return _mm512_loadu_ps(x); }
  static __mmask16 first_lanes(int lanes) { return static_cast<__mmask16>((1u << lanes) - 1); }
  static F load_first(const float* x, int lanes) {
    return _mm512_maskz_loadu_ps(first_lanes(lanes), x);
  }
  static void store_first(float* out, int lanes, F value) {
    _mm512_mask_storeu_ps(out, first_lanes(lanes), value);
  }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static float sum(F value) { return _mm512_reduce_add_ps(value); }
  static float largest(F a, F b) {
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
  }

  // 32 numbers to the nearest integers, ties to even, as int16.
  static I round(F first, F second) {
    const I words = _mm512_packs_epi32(_mm512_cvtps_epi32(first), _mm512_cvtps_epi32(second));
    // Packing works within 128-bit parts: 64-bit groups come out as 0 4 1 5 2 6 3 7.
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), words);
  }
  // q / 2^shift, to the nearest integer, halves upwards; and what that leaves of q.
  static I upper_part(I q, int shift) {
    const I half = _mm512_set1_epi16(static_cast<int16_t>((1 << shift) >> 1));
    return _mm512_sra_epi16(_mm512_add_epi16(q, half), _mm_cvtsi32_si128(shift));
  }
  static I lower_part(I q, I upper, int shift) {
    return _mm512_sub_epi16(q, _mm512_sll_epi16(upper, _mm_cvtsi32_si128(shift)));
  }
  static void write_bytes(int8_t* out, I words) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi16_epi8(words));
  }
  // Minus the sums of the halves of both planes; returns the sum of 128 high + low.
  static int32_t write_sums(int32_t* minus, I high, I low) {
    const I bytes =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(high)),
                           _mm512_cvtepi16_epi8(low), 1);
    const I biased = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));  // value + 128
    const I eights = _mm512_sad_epu8(biased, _mm512_setzero_si512());
    const I halves = _mm512_add_epi64(eights, _mm512_bsrli_epi128(eights, 8));
    const I lanes = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i sums = _mm512_castsi512_si128(_mm512_permutexvar_epi32(lanes, halves));
    const __m128i negative = _mm_sub_epi32(_mm_set1_epi32(16 * 128), sums);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(minus), negative);
    __m128i total = _mm_mullo_epi32(negative, _mm_setr_epi32(-128, -128, -1, -1));
    total = _mm_add_epi32(total, _mm_shuffle_epi32(total, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(total, _mm_shuffle_epi32(total, 0xB1)));
  }

  template <Format Kind>
  struct Block {
    I line[kGroups];
    F scale, min;
    I half_scale[2];
  };

  static I line_at(const uint8_t* bytes) { return _mm512_loadu_si512(bytes); }
  static F halves(const uint8_t* bytes) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
  }
  static __m128i bytes16(const uint8_t* bytes) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  }
  static F unsigned_bytes(const uint8_t* bytes) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes16(bytes)));
  }
  static I signed_bytes(const uint8_t* bytes) { return _mm512_cvtepi8_epi32(bytes16(bytes)); }

  // low | (moved & mask), in one instruction.
  static I or_masked(I low, I moved, I mask) {
    return _mm512_ternarylogic_epi32(low, moved, mask, 0xF8);
  }
  // Bits move by `left` (to the right when negative); what crosses into a neighbouring byte is
  // masked off by the caller.
  template <int Left>
  static I moved(I bits) {
    if constexpr (Left >= 0) return _mm512_slli_epi16(bits, Left);
    else return _mm512_srli_epi16(bits, -Left);
  }

  template <Format Kind, int G>
  static void load_pair(const uint8_t* quants, I* line) {
    constexpr int bits = layout_of(Kind).bits;
    const I nibble = _mm512_set1_epi8(15);
    const I both = line_at(quants + G / 2 * kLineBytes);
    I even = _mm512_and_si512(both, nibble);
    I odd = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    if constexpr (bits == 5) {
      const I plane = line_at(quants + 4 * kLineBytes), mask = _mm512_set1_epi8(16);
      even = or_masked(even, moved<4 - G>(plane), mask);
      odd = or_masked(odd, moved<3 - G>(plane), mask);
    }
    if constexpr (bits == 6) {
      const I plane = line_at(quants + (4 + G / 4) * kLineBytes), mask = _mm512_set1_epi8(48);
      even = or_masked(even, moved<4 - 2 * (G % 4)>(plane), mask);
      odd = or_masked(odd, moved<2 - 2 * (G % 4)>(plane), mask);
    }
    line[G] = even;
    line[G + 1] = odd;
  }

  template <Format Kind>
  static void load_lines(const uint8_t* quants, I* line) {
    if constexpr (layout_of(Kind).bits == 8) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) line[g] = line_at(quants + g * kLineBytes);
    } else {
      load_pair<Kind, 0>(quants, line);
      load_pair<Kind, 2>(quants, line);
      load_pair<Kind, 4>(quants, line);
      load_pair<Kind, 6>(quants, line);
    }
  }

  template <Format Kind>
  static Block<Kind> load_block(const BlockAddress& at) {
    constexpr Layout layout = layout_of(Kind);
    Block<Kind> block;
    load_lines<Kind>(at.quants, block.line);
    if constexpr (Kind == Format::Q6_K) {
      block.scale = halves(at.header);
      block.half_scale[0] = signed_bytes(at.scales);
      block.half_scale[1] = signed_bytes(at.scales + 16);
    } else if constexpr (layout.blocks == 8) {
      block.scale = mul(halves(at.header), unsigned_bytes(at.scales));
      const F min = mul(halves(at.header + 32), unsigned_bytes(at.scales + 16));
      block.min = _mm512_sub_ps(zero(), min);
    } else {
      block.scale = halves(at.scales);
      if constexpr (layout.has_min) block.min = halves(at.scales + 32);
    }
    return block;
  }

  // sum + four unsigned weights times four activations, in every row. Written out because the
  // compiler would spend an instruction on the broadcast that the multiplication has for free.
  static I dot4(I sum, I weights, const int8_t* a) {
    struct __attribute__((may_alias)) Four {
      int32_t value;
    };
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sum)
        : "v"(weights), "m"(*reinterpret_cast<const Four*>(a)));
    return sum;
  }

  // Where the sums start so that stored weights count from their zero point.
  template <Format Kind>
  static I start_at(int32_t minus_sum) {
    constexpr int zero_point = layout_of(Kind).zero;
    if constexpr (zero_point == 0) return _mm512_setzero_si512();
    else return _mm512_slli_epi32(_mm512_set1_epi32(minus_sum), __builtin_ctz(zero_point));
  }

  template <Format Kind>
  static F dot(const Block<Kind>& block, const int8_t* a, const int32_t* start) {
    I first = start_at<Kind>(start[0]), second = start_at<Kind>(start[1]);
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      first = dot4(first, block.line[g], a + 4 * g);
      second = dot4(second, block.line[4 + g], a + 16 + 4 * g);
    }
    if constexpr (Kind == Format::Q6_K) {  // at most 32 * 32 * 16256 * 128 < 2^31
      first = _mm512_mullo_epi32(first, block.half_scale[0]);
      second = _mm512_mullo_epi32(second, block.half_scale[1]);
    }
    return _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
  }

  template <int Rows>
  static uint32_t wide_rows(const uint8_t* wide) {
    if constexpr (Rows == 1) return *wide;
    return _mm_movemask_epi8(bytes16(wide)) & ((1u << Rows) - 1);
  }

  template <Format Kind>
  static F load_floats(const uint8_t* weights) {
    if constexpr (Kind == Format::F32) {
      return _mm512_loadu_ps(weights);
    } else if constexpr (Kind == Format::F16) {
      return halves(weights);
    } else {
      const __m256i upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(upper), 16));
    }
  }

  // Inlined by force: GCC takes a function that only prefetches for one without effect.
  template <int Bytes>
  static __attribute__((always_inline)) void prefetch(const uint8_t* weights) {
#pragma GCC unroll 16
    for (int i = 0; i < Bytes; i += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(weights) + kPrefetchBytes + i, _MM_HINT_T0);
    }
  }
};

}  // namespace

const LinearKernels kAvx512Linear = {multiply<Avx512>, quantise<Avx512>};

}  // namespace legato
