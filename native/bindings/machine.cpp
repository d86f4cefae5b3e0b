// What this machine can do.
#include "../probe.h"
#include "../simd.h"
#include "bindings.h"

namespace legato {

void bind_machine(nb::module_& m) {
  m.def("supports", &supports, "simd"_a);
  m.def("best_simd", &best_simd);
  m.def("attention_products", &attention_products, "simd"_a, "type"_a,
        "What attention multiplies keys of a type with: \"f32\", \"bf16\" or \"int16\".");
  m.def("measure_bandwidth", &measure_bandwidth, "threads"_a, "bytes"_a,
        nb::call_guard<nb::gil_scoped_release>());
  m.def("measure_int8_peak", &measure_int8_peak, "threads"_a,
        nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace legato
