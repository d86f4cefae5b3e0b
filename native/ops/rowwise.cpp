// Compiled once per instruction set: LEGATO_SIMD names the namespace, the compiler makes the
// vectors. Nothing here may call an inline function of another header: its code, made for the
// newest instruction set, could be linked into the others.
#include "rowwise.h"

#if defined(__AVX512F__)
#define LEGATO_VECTOR_AVX512
#elif defined(__AVX2__)
#define LEGATO_VECTOR_AVX2
#else
#define LEGATO_VECTOR_PORTABLE
#endif
#include "vector_math.h"

namespace legato::LEGATO_SIMD {
namespace {

constexpr int64_t kPartialSums = 32;  // fixed, so that a sum has one order everywhere

float square_root(float x) { return __builtin_sqrtf(x); }

float sum_of_squares(const float* x, int64_t n) {
  float lanes[kPartialSums] = {};
  int64_t i = 0;
  for (; i + kPartialSums <= n; i += kPartialSums) {
    for (int64_t lane = 0; lane < kPartialSums; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  }
  for (int64_t lane = 0; i + lane < n; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  for (int64_t half = kPartialSums / 2; half > 0; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

void rms_norm(const float* x, const float* weight, float eps, int64_t width, int64_t group,
              const float* addend, float* out) {
  for (int64_t start = 0; start < width; start += group) {
    const float* from = x + start;
    const float mean = sum_of_squares(from, group) / static_cast<float>(group);
    const float scale = 1.0f / square_root(mean + eps);
    if (addend == nullptr) {
      for (int64_t i = 0; i < group; ++i) out[start + i] = from[i] * scale * weight[i];
    } else {
      for (int64_t i = 0; i < group; ++i) {
        out[start + i] = addend[start + i] + from[i] * scale * weight[i];
      }
    }
  }
}

// Elements at `first` and `second` of a head, by one angle.
void rotate(const float* x, float cosine, float sine, int64_t first, int64_t second, float* out) {
  const float a = x[first], b = x[second];
  out[first] = a * cosine - b * sine;
  out[second] = b * cosine + a * sine;
}

// Element i with element pairs + i.
void rope_halves(const float* x, const float* cosine, const float* sine, int64_t pairs, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) {
    const Floats a = load(x + i), b = load(x + pairs + i);
    const Floats c = load(cosine + i), s = load(sine + i);
    store(out + i, a * c - b * s);
    store(out + pairs + i, b * c + a * s);
  }
  for (; i < pairs; ++i) rotate(x, cosine[i], sine[i], i, pairs + i, out);
}

void rope(const float* x, const float* cosine, const float* sine, int64_t pairs, int64_t head_dim,
          bool interleaved, float* out) {
  if (interleaved) {
    for (int64_t i = 0; i < pairs; ++i) rotate(x, cosine[i], sine[i], 2 * i, 2 * i + 1, out);
  } else {
    rope_halves(x, cosine, sine, pairs, out);
  }
  for (int64_t i = 2 * pairs; i < head_dim; ++i) out[i] = x[i];
}

// e^x to about 1e-7 relative: x = n ln 2 + r, e^x = 2^n p(r); p as in Cephes' expf (Moshier).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum is rounded to an int
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * __builtin_bit_cast(float, (static_cast<int32_t>(n) + 127) << 23);
}

inline float hyperbolic_tangent(float x) {
  const float square = x * x;
  float p = -5.70498872745e-3f;  // Cephes' tanhf, for |x| < 0.625
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const float small = p * square * x + x;
  const float large = 1.0f - 2.0f / (1.0f + exponential(2.0f * x));
  return square < 0.390625f ? small : large;
}

inline Floats silu(Floats x) {
  return x * reciprocal(splat(1.0f) + exp_lanes(splat(0.0f) - x));
}

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x³)
inline Floats gelu_tanh(Floats x) {
  const Floats factor = fma(x * x, splat(-2.0f * 0.79788456080f * 0.044715f),
                            splat(-2.0f * 0.79788456080f));
  return x * reciprocal(splat(1.0f) + exp_lanes(x * factor));
}

template <Floats (*kActivation)(Floats)>
void gated_by(const float* gate, const float* up, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(out + i, kActivation(load(gate + i)) * load(up + i));
  }
  if (i == n) return;
  const int left = static_cast<int>(n - i);
  float last[kLanes];
  store(last, kActivation(load_first(gate + i, left, 0.0f)) * load_first(up + i, left, 0.0f));
  for (int lane = 0; lane < left; ++lane) out[i + lane] = last[lane];
}

void gated(Activation activation, const float* gate, const float* up, int64_t n, float* out) {
  if (activation == Activation::Silu) {
    gated_by<silu>(gate, up, n, out);
  } else {
    gated_by<gelu_tanh>(gate, up, n, out);
  }
}

void map(Elementwise kind, const float* a, const float* b, float factor, int64_t n, float* out) {
  switch (kind) {
    case Elementwise::Add:
      for (int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
      break;
    case Elementwise::Scale:
      for (int64_t i = 0; i < n; ++i) out[i] = a[i] * factor;
      break;
    case Elementwise::SoftCap:
      for (int64_t i = 0; i < n; ++i) out[i] = factor * hyperbolic_tangent(a[i] / factor);
      break;
  }
}

}  // namespace

extern const RowOps kRowOps = {rms_norm, rope, gated, map};

}  // namespace legato::LEGATO_SIMD
