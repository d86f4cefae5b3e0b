// What the measuring client takes its streams apart with.
#include "../plain_chunks.h"

#include "bindings.h"

namespace legato {
namespace {

std::string_view view(const nb::bytes& bytes) { return {bytes.c_str(), bytes.size()}; }

// The texts of the pieces of `data` from number `first` on, as far as they are plain.
nb::list plain_texts(const nb::bytes& data, const nb::list& ends, size_t first,
                     const nb::bytes& before, const nb::bytes& after) {
  const std::string_view all = view(data);
  const ChunkFrame frame{view(before), view(after)};
  nb::list texts;
  size_t start = first == 0 ? 0 : nb::cast<size_t>(ends[first - 1]);
  for (size_t piece = first; piece < ends.size(); ++piece) {
    const size_t end = nb::cast<size_t>(ends[piece]);
    if (end < start || end > all.size()) throw nb::value_error("pieces beyond their bytes");
    const auto text = plain_text(all.substr(start, end - start), frame);
    if (!text) break;
    PyObject* decoded =
        PyUnicode_DecodeUTF8(text->data(), static_cast<Py_ssize_t>(text->size()), nullptr);
    if (decoded == nullptr) {
      PyErr_Clear();
      break;
    }
    texts.append(nb::steal(decoded));
    start = end;
  }
  return texts;
}

}  // namespace

void bind_chunks(nb::module_& m) {
  m.def("plain_texts", &plain_texts, "data"_a, "ends"_a, "first"_a, "before"_a, "after"_a);
}

}  // namespace legato
