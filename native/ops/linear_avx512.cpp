// AVX-512 with VNNI: one vpdpbusd multiplies 16 rows by four columns.
#include <immintrin.h>

#include "linear_kernels.h"
#include "linear_tile.h"
#include "quantise_avx512.h"

namespace legato {
namespace {

struct Avx512 : Avx512Quantise {
  using F = __m512;
  using I = __m512i;
  static constexpr int kRows = 8;
  static constexpr bool kTileInRegisters = true;

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

  template <Format Kind>
  struct Block {
    I line[kGroups];
    F scale, min;
    I half_scale[2];
    const uint8_t* lines;        // `line` in memory, for a group that is not known beforehand
    const uint8_t* half_scales;  // `half_scale` there, as bytes
  };
  // Where the lines of a block lie that have to be decoded.
  template <Format Kind>
  struct Decoded {
    alignas(64) uint8_t line[kGroups][kLineBytes];
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

  template <Format Kind, Digits D>
  static Block<Kind> load_block(const BlockAddress& at, Decoded<Kind>& decoded) {
    constexpr Layout layout = layout_of(Kind);
    Block<Kind> block;
    load_lines<Kind>(at.quants, block.line);
    if constexpr (D == Digits::Spike && layout.bits < 8) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) _mm512_store_si512(decoded.line[g], block.line[g]);
    }
    block.lines = layout.bits == 8 ? at.quants : decoded.line[0];
    block.half_scales = at.scales;
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

  // sum + the products of Count groups with the activations at `a`.
  template <int Count>
  static I dot_groups(I sum, const I* line, const int8_t* a) {
#pragma GCC unroll 8
    for (int g = 0; g < Count; ++g) sum = dot4(sum, line[g], a + 4 * g);
    return sum;
  }
  template <Format Kind>
  static I dot_spike(const Block<Kind>& block, const ActivationBlock& a) {
    const I line = line_at(block.lines + a.group * kLineBytes);
    return _mm512_slli_epi32(dot4(_mm512_setzero_si512(), line, a.spike), kSpikeBits);
  }
  // Sixteen columns with their high digits.
  template <Digits D>
  static I dot_half(I sum, const I* line, const int8_t* q, const int8_t* high) {
    if constexpr (D == Digits::High) {
      const I upper = dot_groups<4>(_mm512_setzero_si512(), line, high);
      sum = _mm512_add_epi32(sum, _mm512_slli_epi32(upper, kHighBits));
    }
    return dot_groups<4>(sum, line, q);
  }

  template <Format Kind, Digits D>
  static F dot(const Block<Kind>& block, const ActivationBlock& a, const int8_t* high) {
    if constexpr (Kind == Format::Q6_K) {  // at most 32 * 32 * 16319 * 128 < 2^31
      I first = dot_half<D>(start_at<Kind>(a.minus_half[0]), block.line, a.q, high);
      I second = dot_half<D>(start_at<Kind>(a.minus_half[1]), block.line + 4, a.q + 16, high + 16);
      first = _mm512_mullo_epi32(first, block.half_scale[0]);
      second = _mm512_mullo_epi32(second, block.half_scale[1]);
      if constexpr (D == Digits::Spike) {
        const I scale = signed_bytes(block.half_scales + a.group / 4 * 16);
        first = _mm512_add_epi32(first, _mm512_mullo_epi32(dot_spike<Kind>(block, a), scale));
      }
      return _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
    } else {
      I first = _mm512_setzero_si512();
      if constexpr (D == Digits::Spike) first = dot_spike<Kind>(block, a);
      first = dot_half<D>(first, block.line, a.q, high);
      const I start = start_at<Kind>(a.minus);
      const I second = dot_half<D>(start, block.line + 4, a.q + 16, high + 16);
      return _mm512_cvtepi32_ps(_mm512_add_epi32(first, second));
    }
  }
  static I word_at(const int8_t* four) {
    int32_t word;
    std::memcpy(&word, four, 4);
    return _mm512_set1_epi32(word);
  }
  // A block of 4-bit weights as crossed sums (activations.h) read it: the even and the odd groups
  // of the pairs, shifted, and what a sum, read as a float, has too much that depends on them alone.
  template <Format Kind>
  struct Crossed {
    Block<Kind> block;
    I even[kCrossedPairs], odd[kCrossedPairs];
    F excess;
    const uint8_t* spike_lines;  // 2^kSpikeBits times the weights
  };
  template <Format Kind, Digits D>
    requires(layout_of(Kind).bits == 4 && D != Digits::High)
  static inline __attribute__((always_inline)) Crossed<Kind> load_tall(const BlockAddress& at,
                                                                       Decoded<Kind>& decoded) {
    Crossed<Kind> crossed;
    crossed.block = load_block<Kind, Digits::None>(at, decoded);
    const I* line = crossed.block.line;
    I excess = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < kCrossedPairs; ++i) {
      crossed.even[i] = _mm512_add_epi8(line[2 * i], _mm512_set1_epi8(kCrossedUp));
      crossed.odd[i] = _mm512_sub_epi8(line[2 * i + 1], _mm512_set1_epi8(kCrossedDown));
      excess = _mm512_dpbusd_epi32(excess, crossed.even[i], crossed.odd[i]);
    }
    crossed.excess = add(_mm512_cvtepi32_ps(excess), broadcast(kWholeFloat));
    crossed.spike_lines = decoded.line[0];
    if constexpr (D == Digits::Spike) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        _mm512_store_si512(decoded.line[g], _mm512_slli_epi16(line[g], kSpikeBits));
      }
    }
    return crossed;
  }
  // Some rows in step, so that their chains of sums overlap.
  template <Format Kind, Digits D, int R>
  static inline __attribute__((always_inline)) void add_crossed(const Crossed<Kind>& crossed,
                                                                const ActivationBlock* x, F* sum) {
    const Block<Kind>& block = crossed.block;
    I dot[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      dot[r] = _mm512_set1_epi32(x[r].crossed);
      if constexpr (layout_of(Kind).zero != 0) {
        dot[r] = _mm512_add_epi32(dot[r], start_at<Kind>(x[r].minus));
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kCrossedPairs; ++i) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const I even = _mm512_add_epi8(crossed.even[i], word_at(x[r].q + 8 * i + 4));
        const I odd = _mm512_add_epi8(crossed.odd[i], word_at(x[r].q + 8 * i));
        dot[r] = _mm512_dpbusd_epi32(dot[r], even, odd);
      }
    }
#pragma GCC unroll 8
    for (int g = 2 * kCrossedPairs; g < kGroups; ++g) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) dot[r] = dot4(dot[r], block.line[g], x[r].q + 4 * g);
    }
    if constexpr (D == Digits::Spike) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        dot[r] = dot4(dot[r], line_at(crossed.spike_lines + x[r].group * kLineBytes), x[r].spike);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const F scale = mul(block.scale, broadcast(x[r].scale));
      const F products = _mm512_sub_ps(_mm512_castsi512_ps(dot[r]), crossed.excess);
      F total = fma(products, scale, sum[r]);
      if constexpr (layout_of(Kind).has_min) total = fma(block.min, broadcast(x[r].sum), total);
      sum[r] = total;
    }
  }
  template <Format Kind, Digits D>
  static inline __attribute__((always_inline)) void add_rows(const Crossed<Kind>& crossed,
                                                             const ActivationTile& tile,
                                                             int64_t entry, F* sum) {
    constexpr int together = 2;
    const ActivationBlock* x = tile.blocks + entry;
    int64_t r = 0;
    for (; r + together <= tile.rows; r += together) {
      add_crossed<Kind, D, together>(crossed, x + r, sum + r);
    }
    for (; r < tile.rows; ++r) add_crossed<Kind, D, 1>(crossed, x + r, sum + r);
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

const LinearKernels kAvx512Linear = {multiply<Avx512>, quantise<Avx512>};

}  // namespace legato
