// Reading of a StepInput: every array with its type, dimensions and length checked.
#include "step.h"

#include <string>

#include "../check.h"

namespace legato {
namespace {

// Attribute `field` of a dataclass of arrays, with its type, dimensions and layout checked.
template <class T>
Array<const T> field(nb::handle object, const char* name, size_t dimensions) {
  Array<const T> array;
  if (!nb::try_cast(nb::getattr(object, name), array, false) || array.ndim() != dimensions) {
    const nb::dlpack::dtype type = nb::dtype<T>();
    const char* kind = type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Float) ? "f"
                       : type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Int) ? "i"
                                                                                        : "u";
    throw StepError(std::string("malformed step: ") + name + " must be a contiguous array of " +
                    kind + std::to_string(type.bits) + " with " + std::to_string(dimensions) +
                    " dimensions");
  }
  return array;
}

// The same, of a given length.
template <class T>
const T* field_of(nb::handle object, const char* name, size_t length) {
  const Array<const T> array = field<T>(object, name, 1);
  if (array.shape(0) != length) {
    throw StepError(std::string("malformed step: ") + name + " has " +
                    std::to_string(array.shape(0)) + " entries, expected " +
                    std::to_string(length));
  }
  return array.data();
}

int32_t length(nb::handle object, const char* name) {
  return static_cast<int32_t>(nb::len(nb::getattr(object, name)));
}

}  // namespace

SamplingState read_sampling(nb::handle s, int32_t rows, int32_t vocab, Step& step) {
  const auto n = static_cast<size_t>(rows);
  step.bias_entries = length(s, "bias_ids");
  step.seen_entries = length(s, "seen_ids");
  const auto bias = static_cast<size_t>(step.bias_entries);
  const auto seen = static_cast<size_t>(step.seen_entries);
  const Array<const uint32_t> masks = field<uint32_t>(s, "masks", 2);
  step.masks = static_cast<int32_t>(masks.shape(0));
  if (step.masks > 0 && masks.shape(1) != (static_cast<size_t>(vocab) + 31) / 32) {
    throw StepError("malformed step: masks must have a bit for each token of the vocabulary");
  }
  SamplingState state{};
  state.rows = rows;
  state.vocab = vocab;
  state.temperature = field_of<float>(s, "temperature", n);
  state.top_p = field_of<float>(s, "top_p", n);
  state.min_p = field_of<float>(s, "min_p", n);
  state.presence = field_of<float>(s, "presence", n);
  state.frequency = field_of<float>(s, "frequency", n);
  state.repetition = field_of<float>(s, "repetition", n);
  state.top_k = field_of<int32_t>(s, "top_k", n);
  state.seed = field_of<uint64_t>(s, "seed", n);
  state.sample_index = field_of<uint32_t>(s, "sample_index", n);
  state.position = field_of<int32_t>(s, "position", n);
  state.bias_starts = field_of<int32_t>(s, "bias_starts", n + 1);
  state.bias_ids = field_of<int32_t>(s, "bias_ids", bias);
  state.bias_values = field_of<float>(s, "bias_values", bias);
  state.seen_starts = field_of<int32_t>(s, "seen_starts", n + 1);
  state.seen_ids = field_of<int32_t>(s, "seen_ids", seen);
  state.seen_counts = field_of<int32_t>(s, "seen_counts", seen);
  state.num_logprobs = field_of<int32_t>(s, "num_logprobs", n);
  state.mask_index = field_of<int32_t>(s, "mask_index", n);
  state.masks = masks.data();
  return state;
}

Step read_step(nb::handle object) {
  Step step{};
  const Array<const int32_t> tokens = field<int32_t>(object, "token_ids", 1);
  const Array<const int32_t> lengths = field<int32_t>(object, "kv_lengths", 1);
  const Array<const int32_t> tables = field<int32_t>(object, "block_tables", 3);
  const Array<const int32_t> outputs = field<int32_t>(object, "output_rows", 1);
  step.tokens = static_cast<int32_t>(tokens.shape(0));
  step.sequences = static_cast<int32_t>(lengths.shape(0));
  step.outputs = static_cast<int32_t>(outputs.shape(0));
  step.groups = static_cast<int32_t>(tables.shape(0));
  step.table_stride = static_cast<int32_t>(tables.shape(2));
  if (tables.shape(1) != lengths.shape(0)) {
    throw StepError("malformed step: block_tables and kv_lengths differ in sequences");
  }
  step.token_ids = tokens.data();
  step.positions = field_of<int32_t>(object, "positions", tokens.shape(0));
  step.query_starts = field_of<int32_t>(object, "query_starts", lengths.shape(0) + 1);
  step.kv_lengths = lengths.data();
  step.block_tables = tables.data();
  step.output_rows = outputs.data();
  return step;
}

}  // namespace legato
