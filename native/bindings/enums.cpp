// The closed vocabularies of a plan: formats, kinds, instruction sets.
#include "bindings.h"

namespace legato {

void bind_enums(nb::module_& m) {
  nb::enum_<Format>(m, "Format")
      .value("F32", Format::F32)
      .value("F16", Format::F16)
      .value("BF16", Format::BF16)
      .value("Q4_0", Format::Q4_0)
      .value("Q4_1", Format::Q4_1)
      .value("Q5_0", Format::Q5_0)
      .value("Q5_1", Format::Q5_1)
      .value("Q8_0", Format::Q8_0)
      .value("Q4_K", Format::Q4_K)
      .value("Q5_K", Format::Q5_K)
      .value("Q6_K", Format::Q6_K);
  nb::enum_<Rows>(m, "Rows")
      .value("TOKENS", Rows::Tokens)
      .value("OUTPUTS", Rows::Outputs)
      .value("LOGITS", Rows::Logits);
  nb::enum_<Activation>(m, "Activation")
      .value("SILU", Activation::Silu)
      .value("GELU_TANH", Activation::GeluTanh);
  nb::enum_<Elementwise>(m, "Elementwise")
      .value("ADD", Elementwise::Add)
      .value("SCALE", Elementwise::Scale)
      .value("SOFT_CAP", Elementwise::SoftCap);
  nb::enum_<KVType>(m, "KVType")
      .value("F32", KVType::F32)
      .value("F16", KVType::F16)
      .value("BF16", KVType::BF16)
      .value("INT8", KVType::Int8);
  nb::enum_<Simd>(m, "Simd")
      .value("PORTABLE", Simd::Portable)
      .value("AVX2", Simd::Avx2)
      .value("AVX512", Simd::Avx512);
  nb::enum_<Precision>(m, "Precision")
      .value("FAST", Precision::Fast)
      .value("BALANCED", Precision::Balanced)
      .value("EXACT", Precision::Exact);
}

}  // namespace legato
