// Compiled once per instruction set: LEGATO_SIMD names the namespace, the compiler makes the
// vectors. Nothing here may call an inline function of another header: its code, made for the
// newest instruction set, could be linked into the others.
#include "rowwise.h"

namespace legato::LEGATO_SIMD {
namespace {

constexpr int64_t kLanes = 32;  // partial sums; fixed, so that a sum has one order everywhere

float square_root(float x) { return __builtin_sqrtf(x); }

float sum_of_squares(const float* x, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  }
  for (int64_t lane = 0; i + lane < n; ++lane) lanes[lane] += x[i + lane] * x[i + lane];
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
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

void rope(const float* x, const float* cosine, const float* sine, int64_t pairs, int64_t head_dim,
          bool interleaved, float* out) {
  const int64_t step = interleaved ? 2 : 1;
  const int64_t other = interleaved ? 1 : pairs;
  for (int64_t i = 0; i < pairs; ++i) {
    const float a = x[i * step], b = x[i * step + other];
    out[i * step] = a * cosine[i] - b * sine[i];
    out[i * step + other] = b * cosine[i] + a * sine[i];
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

inline float silu(float x) { return x / (1.0f + exponential(-x)); }

// 0.5 x (1 + tanh(u)) = x / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x³)
inline float gelu_tanh(float x) {
  const float u = 0.79788456080f * (x + 0.044715f * x * x * x);
  return x / (1.0f + exponential(-2.0f * u));
}

void gated(Activation activation, const float* gate, const float* up, int64_t n, float* out) {
  if (activation == Activation::Silu) {
    for (int64_t i = 0; i < n; ++i) out[i] = silu(gate[i]) * up[i];
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = gelu_tanh(gate[i]) * up[i];
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
