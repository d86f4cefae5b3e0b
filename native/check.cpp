#include "check.h"

#include <algorithm>
#include <string>

namespace legato {
namespace {

void require(bool condition, const char* message) {
  if (!condition) throw StepError(std::string("malformed step: ") + message);
}

// The same; `message()` is made only where it is needed, because a step checks every row.
template <class Message>
void require(bool condition, const Message& message) {
  if (!condition) throw StepError("malformed step: " + message());
}

bool within(const int32_t* values, int64_t count, int64_t least, int64_t limit) {
  return std::all_of(values, values + count, [&](int32_t v) { return v >= least && v < limit; });
}

void check_rows(const Step& step, const Plan& plan) {
  require(step.tokens > 0, "token_ids is empty: a step needs at least one row");
  for (const Instruction& instruction : plan.instructions) {
    if (const auto* op = std::get_if<Embed>(&instruction)) {
      require(within(step.token_ids, step.tokens, 0, plan.weights[op->table].rows),
              "token_ids has an id outside the vocabulary");
    }
  }
  require(within(step.output_rows, step.outputs, 0, step.tokens),
          "output_rows names a row that is not in the step");
  require(std::is_sorted(step.output_rows, step.output_rows + step.outputs, std::less_equal<>()),
          "output_rows must ascend");
}

void check_sequences(const Step& step, const Plan& plan) {
  require(step.query_starts[0] == 0 && step.query_starts[step.sequences] == step.tokens,
          "query_starts must run from 0 to the number of rows");
  for (int32_t s = 0; s < step.sequences; ++s) {
    const auto of = [s] { return " of sequence " + std::to_string(s); };
    const int64_t first = step.query_starts[s], last = step.query_starts[s + 1];
    require(first < last && last <= step.tokens,
            [&] { return "query_starts must ascend; the rows" + of(); });
    require(step.kv_lengths[s] >= last - first && step.kv_lengths[s] <= plan.max_context, [&] {
      return "kv_lengths" + of() + " is " + std::to_string(step.kv_lengths[s]) +
             ", not between its " + std::to_string(last - first) + " rows and the context of " +
             std::to_string(plan.max_context);
    });
    for (int64_t t = first; t < last; ++t) {
      require(step.positions[t] == step.kv_lengths[s] - (last - t), [&] {
        return "positions" + of() + " must be consecutive and end at kv_lengths - 1";
      });
    }
  }
}

// Every position that the step reads or writes has a block of the pool.
void check_tables(const Step& step, const Plan& plan, int32_t blocks) {
  const auto groups = static_cast<int32_t>(plan.kv.windows.size());
  require(step.groups == groups, [&] {
    return "block_tables has " + std::to_string(step.groups) + " groups, the program " +
           std::to_string(groups);
  });
  for (int32_t g = 0; g < groups; ++g) {
    for (int32_t s = 0; s < step.sequences; ++s) {
      const int64_t first = step.positions[step.query_starts[s]], window = plan.kv.windows[g];
      const int64_t start = window == 0 ? 0 : std::max<int64_t>(0, first - window + 1);
      const int64_t begin = start / plan.kv.block_size;
      const int64_t end = (step.kv_lengths[s] + plan.kv.block_size - 1) / plan.kv.block_size;
      const int32_t* table =
          step.block_tables + (int64_t{g} * step.sequences + s) * step.table_stride;
      require(end <= step.table_stride && within(table + begin, end - begin, 0, blocks), [&] {
        return "block_tables[" + std::to_string(g) + ", " + std::to_string(s) + ", " +
               std::to_string(begin) + ":" + std::to_string(end) +
               "] must be blocks of the pool of " + std::to_string(blocks);
      });
    }
  }
}

void check_ranges(const char* field, const int32_t* starts, int32_t rows) {
  require(starts[0] == 0 && std::is_sorted(starts, starts + rows + 1), [&] {
    return std::string("sampling.") + field + " must start at 0 and not descend";
  });
}

void check_sampling(const SamplingState& s, int32_t masks, int32_t bias, int32_t seen) {
  check_ranges("bias_starts", s.bias_starts, s.rows);
  check_ranges("seen_starts", s.seen_starts, s.rows);
  require(s.bias_starts[s.rows] == bias, "sampling.bias_starts must end at the entries of bias_ids");
  require(s.seen_starts[s.rows] == seen, "sampling.seen_starts must end at the entries of seen_ids");
  require(within(s.bias_ids, bias, 0, s.vocab), "sampling.bias_ids is outside the vocabulary");
  require(within(s.seen_ids, seen, 0, s.vocab), "sampling.seen_ids is outside the vocabulary");
  require(within(s.mask_index, s.rows, -1, masks), "sampling.mask_index names no row of masks");
  require(within(s.num_logprobs, s.rows, -1, int64_t{s.max_logprobs} + 1),
          "sampling.num_logprobs is below -1 or above the width of the result");
  require(s.max_logprobs <= s.vocab, "sampling.num_logprobs is larger than the vocabulary");
}

}  // namespace

void check_step(const Step& step, const Plan& plan, int32_t blocks) {
  check_rows(step, plan);
  check_sequences(step, plan);
  check_tables(step, plan, blocks);
  if (step.sampling) {
    check_sampling(*step.sampling, step.masks, step.bias_entries, step.seen_entries);
  }
}

void check_blocks(const char* field, const int32_t* ids, int64_t count, int32_t blocks) {
  require(within(ids, count, 0, blocks), [&] {
    return std::string(field) + " has a block outside the pool of " + std::to_string(blocks);
  });
}

}  // namespace legato
