// Weights in the bytes of their file, and what the kernels see of them.
#include "../arena.h"
#include "../ops/dequantise.h"
#include "bindings.h"

namespace legato {

WeightSpec weight_spec(Format format, int64_t rows, int64_t columns, const Bytes& data) {
  if (static_cast<int64_t>(data.size()) != rows * row_bytes(format, columns)) {
    throw nb::value_error("the bytes of a weight do not fit its shape and format");
  }
  return {format, rows, columns, data.data()};
}

namespace {

// The file's bytes → panels → f32: what the kernels see of a weight.
nb::ndarray<nb::numpy, float> repack(Format format, int64_t rows, int64_t columns,
                                     const Bytes& data) {
  const WeightSpec spec = weight_spec(format, rows, columns, data);
  const Arena arena(packed_bytes(format, rows, columns));
  const PackedWeight packed{format, rows, columns, arena.data()};
  pack_panels(format, spec.data, rows, columns, arena.data(), 0, packed.panels());
  auto out = new_array<float>(rows, columns);
  unpack_panels(packed, out.data());
  return out;
}

nb::ndarray<nb::numpy, float> dequantise(Format format, int64_t rows, int64_t columns,
                                         const Bytes& data) {
  const WeightSpec spec = weight_spec(format, rows, columns, data);
  auto out = new_array<float>(rows, columns);
  for (int64_t row = 0; row < rows; ++row) {
    dequantise_row(format, spec.data + row * row_bytes(format, columns), columns,
                   out.data() + row * columns);
  }
  return out;
}

}  // namespace

void bind_weights(nb::module_& m) {
  m.def("repack", &repack, "format"_a, "rows"_a, "columns"_a, "data"_a.noconvert());
  m.def("dequantise", &dequantise, "format"_a, "rows"_a, "columns"_a, "data"_a.noconvert());
}

}  // namespace legato
