// The operands of a plan, and the plan.
#include "bindings.h"

namespace legato {

void bind_plan(nb::module_& m) {
  nb::class_<BufferSpec>(m, "Buffer").def(nb::init<Rows, int64_t, int32_t>(), "rows"_a, "width"_a,
                                          "slot"_a);
  nb::class_<WeightSpec>(m, "Weight")
      .def(nb::new_(&weight_spec), "format"_a, "rows"_a, "columns"_a, "data"_a.noconvert(),
           "The bytes are not copied: keep them alive as long as the executor.");
  nb::class_<RopeSpec>(m, "Rope").def(nb::init<std::vector<float>, bool, float>(),
                                      "frequencies"_a, "interleaved"_a, "magnitude"_a);
  nb::class_<KVSpec>(m, "KV").def(
      nb::init<std::vector<int32_t>, int32_t, int32_t, int32_t, int32_t, KVType>(), "windows"_a,
      "layers_per_block"_a, "block_size"_a, "kv_heads"_a, "head_dim"_a, "type"_a)
      .def_prop_ro("block_bytes", &KVSpec::block_bytes);
  nb::class_<Plan>(m, "Plan").def(
      nb::init<std::vector<Instruction>, std::vector<BufferSpec>, std::vector<WeightSpec>,
               std::vector<std::vector<float>>, std::vector<RopeSpec>, KVSpec, int32_t, int32_t,
               int32_t>(),
      "instructions"_a, "buffers"_a, "weights"_a, "vectors"_a, "ropes"_a, "kv"_a, "result"_a,
      "hidden"_a, "max_context"_a);
}

}  // namespace legato
