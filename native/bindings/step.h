// From a Python StepInput to a Step.
#include "bindings.h"

namespace legato {

// The arrays of a StepInput but those of its sampling, checked for type, dimensions and length;
// their data stays in `object`. Throws StepError.
Step read_step(nb::handle object);

// The arrays of a SamplingInput of `rows` rows; tells `step` how many entries they hold.
SamplingState read_sampling(nb::handle object, int32_t rows, int32_t vocab, Step& step);

}  // namespace legato
