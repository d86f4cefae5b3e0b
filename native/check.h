// What a step must be for the kernels to stay inside their memory.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "program.h"

namespace legato {

// A step that breaks its contract; the message names the field.
class StepError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check_step(const Step& step, const Plan& plan, int32_t blocks);
void check_blocks(const char* field, const int32_t* ids, int64_t count, int32_t blocks);

}  // namespace legato
