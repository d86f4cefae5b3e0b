// The small ops that work on one row at a time. Each is compiled once per instruction set, and for
// one row its arithmetic never depends on other rows or on who calls it.
#pragma once

#include <cstdint>

#include "../formats.h"
#include "../program.h"

namespace legato {

struct RowOps {
  // out = addend + x / sqrt(mean(x²) + eps) * weight, over each `group` elements of [width];
  // weight [group]; addend may be null; out may be x or addend.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t width, int64_t group,
                   const float* addend, float* out);
  // Rotate the pairs of one head [head_dim] by the angles whose cosine and sine [pairs] are given;
  // elements from 2 * pairs on are copied. out may be x.
  void (*rope)(const float* x, const float* cosine, const float* sine, int64_t pairs,
               int64_t head_dim, bool interleaved, float* out);
  // out = activation(gate) * up, over n elements; out may be gate or up.
  void (*gated)(Activation activation, const float* gate, const float* up, int64_t n, float* out);
  // See Map in program.h; n elements; out may be a or b.
  void (*map)(Elementwise kind, const float* a, const float* b, float factor, int64_t n,
              float* out);
};

namespace portable {
extern const RowOps kRowOps;
}
namespace avx2 {
extern const RowOps kRowOps;
}
namespace avx512 {
extern const RowOps kRowOps;
}

inline const RowOps& row_ops([[maybe_unused]] Simd simd) {
#if defined(__x86_64__)
  if (simd == Simd::Avx512) return avx512::kRowOps;
  if (simd == Simd::Avx2) return avx2::kRowOps;
#endif
  return portable::kRowOps;
}

}  // namespace legato
