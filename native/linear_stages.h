// The stages around matrix products: prepare the input rows once, then share the output panels.
#pragma once

#include "stages.h"

namespace legato {

void linear_stage(const StepContext& context, Worker& worker, const Linear& op);
void gated_linear_stage(const StepContext& context, Worker& worker, const GatedLinear& op);

}  // namespace legato
