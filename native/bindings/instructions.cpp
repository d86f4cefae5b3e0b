// The instructions of a plan, field by field as native/program.h has them.
#include "bindings.h"

namespace legato {

void bind_instructions(nb::module_& m) {
  using MaybeNorm = std::optional<Norm>;
  const auto no_norm = "norm"_a.none() = nb::none();
  nb::class_<Norm>(m, "Norm").def(nb::init<int32_t, float>(), "vector"_a, "eps"_a);
  nb::class_<Embed>(m, "Embed").def(nb::init<int32_t, int32_t, float>(), "table"_a, "out"_a,
                                    "scale"_a);
  nb::class_<RmsNorm>(m, "RmsNorm")
      .def(nb::init<int32_t, Norm, int32_t, int32_t>(), "input"_a, "norm"_a, "addend"_a, "out"_a);
  nb::class_<Projection>(m, "Projection")
      .def(nb::init<int32_t, int32_t, int32_t, int32_t>(), "weight"_a, "bias"_a, "addend"_a,
           "out"_a);
  nb::class_<Linear>(m, "Linear")
      .def(nb::init<int32_t, MaybeNorm, std::vector<Projection>>(), "input"_a, no_norm, "parts"_a);
  nb::class_<GatedLinear>(m, "GatedLinear")
      .def(nb::init<int32_t, MaybeNorm, int32_t, int32_t, Activation>(), "input"_a, no_norm,
           "gate"_a, "up"_a, "activation"_a);
  nb::class_<Heads>(m, "Heads")
      .def(nb::init<int32_t, int32_t, int32_t, MaybeNorm, int32_t>(), "input"_a, "out"_a,
           "head_dim"_a, no_norm, "rope"_a);
  nb::class_<Append>(m, "Append")
      .def(nb::init<int32_t, int32_t, int32_t, int32_t>(), "key"_a, "value"_a, "group"_a,
           "layer"_a);
  nb::class_<PrepareHeads>(m, "PrepareHeads")
      .def(nb::init<std::vector<Heads>, std::optional<Append>>(), "parts"_a, "append"_a.none());
  nb::class_<Attention>(m, "Attention")
      .def(nb::init<int32_t, int32_t, int32_t, int32_t, int32_t, float, float, int32_t>(),
           "query"_a, "out"_a, "group"_a, "layer"_a, "heads"_a, "scale"_a, "soft_cap"_a,
           "window"_a);
  nb::class_<GatedActivation>(m, "GatedActivation")
      .def(nb::init<int32_t, int32_t, int32_t, Activation>(), "gate"_a, "up"_a, "out"_a,
           "activation"_a);
  nb::class_<Map>(m, "Map").def(nb::init<Elementwise, int32_t, int32_t, int32_t, float>(),
                                "kind"_a, "a"_a, "b"_a, "out"_a, "factor"_a);
  nb::class_<TakeRows>(m, "TakeRows").def(nb::init<int32_t, int32_t>(), "input"_a, "out"_a);
  nb::class_<Sample>(m, "Sample").def(nb::init<int32_t>(), "logits"_a);
}

}  // namespace legato
