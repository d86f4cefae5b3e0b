// exp, exp2, log and tanh on the lanes of vector.h. Relative error below 2^-22 where not said
// otherwise; NaN stays NaN. Polynomials were fitted for the least largest error on their range.
#pragma once

#include "vector.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wpsabi"

namespace legato {
namespace {

// 2^n for whole n in [-126, 127].
inline Floats power_of_two(Ints n) { return as_floats(shift_left<23>(n + splat(127))); }

// 2^x for x <= 127; 0 below -126 (no subnormals).
inline Floats exp2_lanes(Floats x) {
  const Floats bounded = maximum(splat(-126.0f), x);
  const Floats whole = round_even(bounded);
  const Floats f = bounded - whole;
  Floats p = splat(0.00015477370470762253f);
  p = fma(p, f, splat(0.0013401625910773873f));
  p = fma(p, f, splat(0.009618000127375126f));
  p = fma(p, f, splat(0.0555032454431057f));
  p = fma(p, f, splat(0.24022650718688965f));
  p = fma(p, f, splat(0.6931471824645996f));
  p = fma(p, f, splat(1.0f));
  const Floats value = p * power_of_two(to_ints(whole));
  return select(x < splat(-126.0f), splat(0.0f), value);
}

// e^x, 0 below -87, at most e^88.
inline Floats exp_lanes(Floats x) {
  const Floats bounded = minimum(splat(88.0f), maximum(splat(-87.0f), x));
  const Floats n = round_even(bounded * splat(1.44269504f));
  Floats r = fma(n, splat(-0.693359375f), bounded);  // ln 2 = 0.693359375 - 0.000212194440
  r = fma(n, splat(2.12194440e-4f), r);
  Floats p = splat(0.0013951717410236597f);
  p = fma(p, r, splat(0.008369598537683487f));
  p = fma(p, r, splat(0.0416661873459816f));
  p = fma(p, r, splat(0.16666512191295624f));
  p = fma(p, r, splat(0.5f));
  p = fma(p * r, r, r) + splat(1.0f);
  return select(x < splat(-87.0f), splat(0.0f), p * power_of_two(to_ints(n)));
}

// log(1 + f) + exponent * ln 2, f in [sqrt(1/2) - 1, sqrt(2) - 1].
inline Floats log_of_parts(Floats f, Floats exponent) {
  Floats p = splat(0.06924550980329514f);
  p = fma(p, f, splat(-0.11801761388778687f));
  p = fma(p, f, splat(0.1187533512711525f));
  p = fma(p, f, splat(-0.12382615357637405f));
  p = fma(p, f, splat(0.1421814113855362f));
  p = fma(p, f, splat(-0.16669327020645142f));
  p = fma(p, f, splat(0.20002253353595734f));
  p = fma(p, f, splat(-0.24999985098838806f));
  p = fma(p, f, splat(0.3333331048488617f));
  const Floats square = f * f;
  Floats tail = fma(p * f, square, exponent * splat(-2.12194440e-4f));
  tail = fma(square, splat(-0.5f), tail);
  return fma(exponent, splat(0.693359375f), f + tail);
}

// x = (1 + f) 2^exponent with 1 + f in [sqrt(1/2), sqrt(2)), for normal x > 0.
inline void split_for_log(Floats x, Floats& f, Floats& exponent) {
  const Ints raw = bits(x);
  const Ints kept = (raw - splat(0x3f3504f3)) & splat(static_cast<int32_t>(0xff800000));
  f = as_floats(raw - kept) - splat(1.0f);
  exponent = to_floats((shift_right<23>(kept) ^ splat(0x100)) - splat(0x100));
}

// log x for normal x > 0.
inline Floats log_lanes(Floats x) {
  Floats f, exponent;
  split_for_log(x, f, exponent);
  return log_of_parts(f, exponent);
}

inline Floats tanh_lanes(Floats x) {
  const Ints sign = bits(x) & splat(INT32_MIN);
  const Floats size = as_floats(bits(x) ^ sign);
  const Floats square = size * size;
  Floats q = splat(-0.005670103244483471f);
  q = fma(q, square, splat(0.020610129460692406f));
  q = fma(q, square, splat(-0.05373163893818855f));
  q = fma(q, square, splat(0.13331356644630432f));
  q = fma(q, square, splat(-0.3333328068256378f));
  const Floats small = fma(q * square, size, size);
  const Floats e = exp_lanes(size + size);
  const Floats large = splat(1.0f) - splat(2.0f) / (e + splat(1.0f));
  const Floats value = select(size < splat(0.625f), small, large);
  return as_floats(bits(value) | sign);
}

}  // namespace
}  // namespace legato

#pragma GCC diagnostic pop
