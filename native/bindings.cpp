// The Python face of the native runtime: the only file that knows nanobind.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "check.h"
#include "executor.h"
#include "ops/dequantise.h"
#include "probe.h"
#ifdef __linux__
#include "receiver.h"
#endif
#include "simd.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace legato {
namespace {

template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;
using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<nb::numpy, float>;

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

// A new array [rows, columns], or [rows] where `columns` is negative.
template <class T>
nb::ndarray<nb::numpy, T> new_array(int64_t rows, int64_t columns = -1) {
  const int64_t size = rows * (columns < 0 ? 1 : columns);
  T* data = new T[static_cast<size_t>(size)];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  const size_t shape[] = {static_cast<size_t>(rows), static_cast<size_t>(columns)};
  return nb::ndarray<nb::numpy, T>(data, columns < 0 ? 1 : 2, shape, owner);
}

// Log-probabilities of the sampled rows of a step: of the chosen tokens, and `count` alternatives.
struct LogprobArrays {
  nb::object chosen, top_ids, top;
  SamplingResult result;  // its ids are not of these
};

LogprobArrays new_logprobs(int64_t rows, int64_t count) {
  auto chosen = new_array<float>(rows);
  auto top_ids = new_array<int32_t>(rows, count);
  auto top = new_array<float>(rows, count);
  return {nb::cast(chosen), nb::cast(top_ids), nb::cast(top),
          {nullptr, chosen.data(), top_ids.data(), top.data()}};
}

// An executor, and what was read of the step it ran last. A caller who writes the arrays of that
// step again and passes it once more does not pay for reading its fields.
class StepExecutor : public Executor {
 public:
  using Executor::Executor;

  // The arrays of a StepInput; they live until the next call.
  Step read(nb::handle object) {
    if (object.is(last_)) return step_;
    last_ = nb::object();
    step_ = read_step(object);
    const nb::object sampling = nb::getattr(object, "sampling");
    if (!sampling.is_none()) {
      step_.sampling = read_sampling(sampling, step_.outputs, logits_width(), step_);
    }
    last_ = nb::borrow(object);
    return step_;
  }

  // Arrays for `rows` rows of which none asks for log-probabilities: every step writes the same.
  const LogprobArrays& no_logprobs(int32_t rows) {
    if (rows != unasked_rows_) unasked_ = new_logprobs(rows, 0);
    unasked_rows_ = rows;
    return unasked_;
  }

  int32_t logits_width() const {
    return plan().result == kNone ? 0 : static_cast<int32_t>(plan().buffers[plan().result].width);
  }

 private:
  nb::object last_;
  Step step_{};
  LogprobArrays unasked_{};
  int32_t unasked_rows_ = kNone;
};

// The largest of the counts, -1 where no row asks for any.
int32_t most_logprobs(const int32_t* counts, int32_t rows) {
  int32_t most = -1;
  for (int32_t r = 0; r < rows; ++r) most = std::max(most, counts[r]);
  return most;
}

// A new array for the rows of buffer `index` where the step asks for them by `flag`, else None.
nb::object wanted_rows(nb::handle object, const char* flag, const Step& step, const Plan& plan,
                       int32_t index, float** rows) {
  if (!nb::cast<bool>(nb::getattr(object, flag))) return nb::none();
  if (index == kNone) {
    throw StepError(std::string("malformed step: ") + flag + ", but this program has no head");
  }
  auto values = new_array<float>(step.outputs, plan.buffers[index].width);
  *rows = values.data();
  return nb::cast(values);
}

// StepInput → (token_ids, logprobs, top_ids, top_logprobs, logits or None, hidden or None)
nb::tuple run(StepExecutor& executor, nb::handle object) {
  Step step = executor.read(object);
  const Plan& plan = executor.plan();
  int32_t chosen = 0, most = -1;
  if (step.sampling) {
    chosen = step.outputs;
    most = most_logprobs(step.sampling->num_logprobs, chosen);
    step.sampling->max_logprobs = std::max(most, 0);
    if (most > executor.logits_width()) {
      throw StepError("malformed step: num_logprobs exceeds the vocabulary");
    }
  }
  auto ids = new_array<int32_t>(chosen);
  const LogprobArrays logprobs =
      most < 0 ? executor.no_logprobs(chosen) : new_logprobs(chosen, most);
  step.result = logprobs.result;
  step.result.token_ids = ids.data();
  const nb::object logits =
      wanted_rows(object, "want_logits", step, plan, plan.result, &step.logits);
  const nb::object hidden =
      wanted_rows(object, "want_hidden", step, plan, plan.hidden, &step.hidden);
  {
    const nb::gil_scoped_release release;
    executor.run(step);
  }
  return nb::make_tuple(ids, logprobs.chosen, logprobs.top_ids, logprobs.top, logits, hidden);
}

void bind_operands(nb::module_& m) {
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

WeightSpec weight_spec(Format format, int64_t rows, int64_t columns, const Bytes& data) {
  if (static_cast<int64_t>(data.size()) != rows * row_bytes(format, columns)) {
    throw nb::value_error("the bytes of a weight do not fit its shape and format");
  }
  return {format, rows, columns, data.data()};
}

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

void copy_blocks(StepExecutor& executor, const std::vector<int32_t>& sources,
                 const std::vector<int32_t>& targets) {
  if (sources.size() != targets.size()) throw StepError("sources and targets differ in length");
  executor.copy_blocks(sources.data(), targets.data(), static_cast<int64_t>(sources.size()));
}

void bind_profile(nb::module_& m) {
  nb::class_<InstructionProfile>(m, "InstructionProfile")
      .def_ro("kind", &InstructionProfile::kind)
      .def_ro("rows", &InstructionProfile::rows)
      .def_ro("nanoseconds", &InstructionProfile::nanoseconds)
      .def_ro("weight_bytes", &InstructionProfile::weight_bytes)
      .def_ro("weights", &InstructionProfile::weights);
}

void bind_executor(nb::module_& m) {
  nb::class_<Options>(m, "Options")
      .def(nb::init<Simd, Precision, int32_t, int32_t, int32_t>(), "simd"_a, "precision"_a,
           "threads"_a, "rows"_a, "outputs"_a);
  nb::class_<StepExecutor>(m, "Executor")
      .def(nb::init<Plan, Options, const StepExecutor*, bool>(), "plan"_a, "options"_a,
           "beside"_a.none() = nb::none(), "share_kv"_a = false,
           nb::call_guard<nb::gil_scoped_release>())
      .def("allocate_kv", &Executor::allocate_kv, "blocks"_a)
      .def("copy_blocks", &copy_blocks, "sources"_a, "targets"_a)
      .def("run", &run, "step"_a)
      .def("start_profile", &Executor::start_profile)
      .def("profile", &Executor::profile)
      .def_prop_ro("threads", &Executor::threads)
      .def_prop_ro("weight_bytes", &Executor::weight_bytes);
}

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

void bind_tools(nb::module_& m) {
  m.def("supports", &supports, "simd"_a);
  m.def("best_simd", &best_simd);
  m.def("attention_products", &attention_products, "simd"_a, "type"_a,
        "What attention multiplies keys of a type with: \"f32\", \"bf16\" or \"int16\".");
  m.def("repack", &repack, "format"_a, "rows"_a, "columns"_a, "data"_a.noconvert());
  m.def("dequantise", &dequantise, "format"_a, "rows"_a, "columns"_a, "data"_a.noconvert());
  m.def("measure_bandwidth", &measure_bandwidth, "threads"_a, "bytes"_a,
        nb::call_guard<nb::gil_scoped_release>());
  m.def("measure_int8_peak", &measure_int8_peak, "threads"_a,
        nb::call_guard<nb::gil_scoped_release>());
}

#ifdef __linux__
// (bytes, ends of its pieces, their stamps, whether the connection is closed, errno)
nb::tuple take_received(Receiver& receiver, int socket) {
  Received received = receiver.take(socket);
  return nb::make_tuple(nb::bytes(received.bytes.data(), received.bytes.size()), received.ends,
                        received.stamps_ns, received.closed, received.error);
}

void bind_receiver(nb::module_& m) {
  nb::class_<Receiver>(m, "Receiver")
      .def(nb::init<>())
      .def_prop_ro("descriptor", &Receiver::descriptor)
      .def("add", &Receiver::add, "socket"_a)
      .def("remove", &Receiver::remove, "socket"_a)
      .def("set_eager", &Receiver::set_eager, "socket"_a, "eager"_a)
      .def("take", &take_received, "socket"_a)
      .def("ready", &Receiver::ready);
}
#endif

}  // namespace
}  // namespace legato

NB_MODULE(_native, m) {
  m.doc() = "Legato's native runtime; see native/program.h for the meaning of every field.";
  nb::exception<legato::StepError>(m, "StepError", PyExc_ValueError);
  m.attr("NONE") = legato::kNone;
  legato::bind_operands(m);
  legato::bind_plan(m);
  legato::bind_instructions(m);
  legato::bind_profile(m);
  legato::bind_executor(m);
  legato::bind_tools(m);
#ifdef __linux__
  legato::bind_receiver(m);
#endif
}
