// Sixteen f32 or i32 lanes in the compiler's own vector types; any machine, GCC or Clang.
// Included through vector.h alone. Products and sums round separately here.
#pragma once

namespace legato {
namespace {

typedef float FloatLanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint32_t UnsignedLanes __attribute__((vector_size(64)));
typedef uint64_t WideLanes __attribute__((vector_size(128)));
typedef double DoubleLanes __attribute__((vector_size(128)));

struct Floats {
  FloatLanes v;
};
struct Ints {
  IntLanes v;
};
struct Mask {
  IntLanes v;  // all ones or all zeros in a lane
};

inline Floats load(const float* p) {
  Floats a;
  std::memcpy(&a.v, p, sizeof a.v);
  return a;
}
inline void store(float* p, Floats a) { std::memcpy(p, &a.v, sizeof a.v); }
inline Floats splat(float x) { return {x - FloatLanes{}}; }
inline Floats operator+(Floats a, Floats b) { return {a.v + b.v}; }
inline Floats operator-(Floats a, Floats b) { return {a.v - b.v}; }
inline Floats operator*(Floats a, Floats b) { return {a.v * b.v}; }
inline Floats operator/(Floats a, Floats b) { return {a.v / b.v}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {a.v * b.v + c.v}; }

inline Ints load(const int32_t* p) {
  Ints a;
  std::memcpy(&a.v, p, sizeof a.v);
  return a;
}
inline void store(int32_t* p, Ints a) { std::memcpy(p, &a.v, sizeof a.v); }
inline Ints splat(int32_t x) { return {x - IntLanes{}}; }
inline UnsignedLanes as_unsigned(Ints a) { return reinterpret_cast<UnsignedLanes>(a.v); }
inline Ints as_ints(UnsignedLanes a) { return {reinterpret_cast<IntLanes>(a)}; }
inline Ints operator+(Ints a, Ints b) { return as_ints(as_unsigned(a) + as_unsigned(b)); }
inline Ints operator-(Ints a, Ints b) { return as_ints(as_unsigned(a) - as_unsigned(b)); }
inline Ints operator^(Ints a, Ints b) { return {a.v ^ b.v}; }
inline Ints operator&(Ints a, Ints b) { return {a.v & b.v}; }
inline Ints operator|(Ints a, Ints b) { return {a.v | b.v}; }
template <int kBits>
inline Ints shift_left(Ints a) {
  return as_ints(as_unsigned(a) << kBits);
}
template <int kBits>  // zeros come in
inline Ints shift_right(Ints a) {
  return as_ints(as_unsigned(a) >> kBits);
}
inline Ints bits(Floats a) { return {reinterpret_cast<IntLanes>(a.v)}; }
inline Floats as_floats(Ints a) { return {reinterpret_cast<FloatLanes>(a.v)}; }
inline Floats to_floats(Ints a) { return {__builtin_convertvector(a.v, FloatLanes)}; }

// Unsigned 32 x 32 -> 64 bits.
inline void multiply_wide(Ints a, Ints b, Ints& high, Ints& low) {
  const WideLanes product = __builtin_convertvector(as_unsigned(a), WideLanes) *
                            __builtin_convertvector(as_unsigned(b), WideLanes);
  high = as_ints(__builtin_convertvector(product >> 32, UnsignedLanes));
  low = as_ints(__builtin_convertvector(product, UnsignedLanes));
}

inline Mask operator<(Floats a, Floats b) { return {a.v < b.v}; }
inline Mask operator<=(Floats a, Floats b) { return {a.v <= b.v}; }
inline Mask operator==(Floats a, Floats b) { return {a.v == b.v}; }
inline Mask is_nan(Floats a) { return {a.v != a.v}; }
inline Mask operator<(Ints a, Ints b) { return {a.v < b.v}; }
inline Mask operator==(Ints a, Ints b) { return {a.v == b.v}; }
inline Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
inline Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
inline Floats select(Mask m, Floats yes, Floats no) { return {m.v ? yes.v : no.v}; }
inline Ints select(Mask m, Ints yes, Ints no) { return {m.v ? yes.v : no.v}; }
inline uint32_t bits_of_mask(Mask m) {
  uint32_t result = 0;
  for (int i = 0; i < 16; ++i) result |= static_cast<uint32_t>(m.v[i] & 1) << i;
  return result;
}
inline bool any(Mask m) {
  int32_t found = 0;
  for (int i = 0; i < 16; ++i) found |= m.v[i];
  return found != 0;
}
inline Mask mask_of_bits(uint32_t low_16_bits) {
  IntLanes lanes;
  for (int i = 0; i < 16; ++i) lanes[i] = -static_cast<int32_t>(low_16_bits >> i & 1);
  return {lanes};
}
// The second operand where either is NaN.
inline Floats maximum(Floats a, Floats b) { return {a.v > b.v ? a.v : b.v}; }
inline Floats minimum(Floats a, Floats b) { return {a.v < b.v ? a.v : b.v}; }
// Only for |a| < 2^22.
inline Floats round_even(Floats a) {
  const FloatLanes magic = 12582912.0f - FloatLanes{};  // 1.5 * 2^23
  return {(a.v + magic) - magic};
}
inline Ints to_ints(Floats a) { return {__builtin_convertvector(round_even(a).v, IntLanes)}; }

// IEEE 754 binary16, rounded to nearest even, subnormals and overflow included.
inline Floats half_to_floats(UnsignedLanes h) {
  const UnsignedLanes sign = (h & 0x8000u) << 16;
  const UnsignedLanes magnitude = (h & 0x7fffu) << 13;
  // 2^112 moves the exponent's bias from 15 to 127, and normalises subnormals.
  const Floats scaled = as_floats(as_ints(magnitude)) * splat(0x1p112f);
  const UnsignedLanes finite = as_unsigned(bits(scaled));
  const UnsignedLanes special = magnitude | 0x7f800000u;
  const UnsignedLanes value = (h & 0x7c00u) == 0x7c00u ? special : finite;
  return as_floats(as_ints(value | sign));
}
inline Floats reciprocal(Floats a) { return splat(1.0f) / a; }

inline Floats load_half(const uint16_t* p) {
  UnsignedLanes h;
  for (int i = 0; i < 16; ++i) h[i] = p[i];
  return half_to_floats(h);
}
inline UnsignedLanes floats_to_half(Floats a) {
  const UnsignedLanes all = as_unsigned(bits(a));
  const UnsignedLanes sign = all & 0x80000000u;
  const UnsignedLanes x = all ^ sign;
  // Adding 2^-1 * 2^(exponent quantum) lets the adder round a subnormal.
  const UnsignedLanes tiny =
      as_unsigned(bits(as_floats(as_ints(x)) + splat(0.5f))) - 0x3f000000u;
  const UnsignedLanes normal = (x + 0xc8000fffu + (x >> 13 & 1u)) >> 13;
  const UnsignedLanes infinite = UnsignedLanes{} + 0x7c00u;
  const UnsignedLanes nan = UnsignedLanes{} + 0x7e00u;
  const UnsignedLanes finite = x < 0x38800000u ? tiny : normal;
  const UnsignedLanes bounded = x >= 0x477ff000u ? infinite : finite;
  return (x > 0x7f800000u ? nan : bounded) | sign >> 16;
}
inline void store_half(uint16_t* p, Floats a) {
  const UnsignedLanes h = floats_to_half(a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(h[i]);
}

// Lane 4b + r of out q is word r of the counter that lane 4b + q held.
inline void transpose_quads(Ints words[4]) {
  const Ints in[4] = {words[0], words[1], words[2], words[3]};
  for (int q = 0; q < 4; ++q) {
    for (int lane = 0; lane < 16; ++lane) words[q].v[lane] = in[lane % 4].v[lane / 4 * 4 + q];
  }
}

// Write the lanes of the mask side by side and return their number; may write all 16 lanes.
inline int compress(float* p, Floats a, Mask m) {
  int count = 0;
  for (int i = 0; i < 16; ++i) {
    p[count] = a.v[i];
    count -= m.v[i];
  }
  return count;
}
inline int compress(int32_t* p, Ints a, Mask m) {
  int count = 0;
  for (int i = 0; i < 16; ++i) {
    p[count] = a.v[i];
    count -= m.v[i];
  }
  return count;
}

// Eight u64 lanes, of which the low halves count.
typedef uint64_t LongLanes __attribute__((vector_size(64)));
struct Wides {
  LongLanes v;
};
constexpr int kWides = 8;
inline LongLanes low_half(LongLanes a) { return a & 0xffffffffu; }
inline Wides wide(uint32_t x) { return {x + LongLanes{}}; }
inline Wides wide_numbers(uint32_t first) { return {first + LongLanes{0, 1, 2, 3, 4, 5, 6, 7}}; }
inline Wides xor_all(Wides a, Wides b, Wides c) { return {a.v ^ b.v ^ c.v}; }
inline Wides multiply_low(Wides a, Wides b) { return {low_half(a.v) * low_half(b.v)}; }
inline Wides high_half(Wides a) { return {a.v >> 32}; }
inline Wides max_low(Wides a, Wides b) {
  const LongLanes x = low_half(a.v), y = low_half(b.v);
  return {x > y ? x : y};
}
inline void store(uint64_t* p, Wides a) { std::memcpy(p, &a.v, sizeof a.v); }

// Sixteen f64 lanes: sums that must not round.
struct Doubles {
  DoubleLanes v;
};
inline Doubles zero_doubles() { return {DoubleLanes{}}; }
inline Doubles operator+(Doubles a, Floats b) {
  return {a.v + __builtin_convertvector(b.v, DoubleLanes)};
}
inline void store(double* p, Doubles a) { std::memcpy(p, &a.v, sizeof a.v); }

}  // namespace
}  // namespace legato
