// The executor: a StepInput in, the arrays of a StepOutput out.
#include "../executor.h"

#include <algorithm>

#include "../check.h"
#include "step.h"

namespace legato {
namespace {

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

void copy_blocks(StepExecutor& executor, const std::vector<int32_t>& sources,
                 const std::vector<int32_t>& targets) {
  if (sources.size() != targets.size()) throw StepError("sources and targets differ in length");
  executor.copy_blocks(sources.data(), targets.data(), static_cast<int64_t>(sources.size()));
}

}  // namespace

void bind_executor(nb::module_& m) {
  nb::class_<InstructionProfile>(m, "InstructionProfile")
      .def_ro("kind", &InstructionProfile::kind)
      .def_ro("rows", &InstructionProfile::rows)
      .def_ro("nanoseconds", &InstructionProfile::nanoseconds)
      .def_ro("weight_bytes", &InstructionProfile::weight_bytes)
      .def_ro("weights", &InstructionProfile::weights);
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

}  // namespace legato
