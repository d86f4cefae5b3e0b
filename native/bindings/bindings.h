// What the parts of the Python face share. Only this folder knows nanobind.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <span>

#include "../program.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace legato {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using TokenIds = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// A new array [rows, columns], or [rows] where `columns` is negative.
template <class T>
nb::ndarray<nb::numpy, T> new_array(int64_t rows, int64_t columns = -1) {
  const int64_t size = rows * (columns < 0 ? 1 : columns);
  T* data = new T[static_cast<size_t>(size)];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  const size_t shape[] = {static_cast<size_t>(rows), static_cast<size_t>(columns)};
  return nb::ndarray<nb::numpy, T>(data, columns < 0 ? 1 : 2, shape, owner);
}

// The token ids of a text, the first `known` of which were seen before. Throws ValueError where one
// of the others is negative.
std::span<const int32_t> token_ids(const TokenIds& tokens, size_t known = 0);

// Throws ValueError where `data` is not a weight of that shape and format. It is not copied.
WeightSpec weight_spec(Format format, int64_t rows, int64_t columns, const Bytes& data);

// Each adds what its file holds to the module.
void bind_enums(nb::module_& m);
void bind_plan(nb::module_& m);
void bind_instructions(nb::module_& m);
void bind_executor(nb::module_& m);
void bind_weights(nb::module_& m);
void bind_machine(nb::module_& m);
void bind_chunks(nb::module_& m);
void bind_drafters(nb::module_& m);
void bind_draft_book(nb::module_& m);
#ifdef __linux__
void bind_receiver(nb::module_& m);
#endif

}  // namespace legato
