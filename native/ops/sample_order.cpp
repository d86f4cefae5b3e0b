// Selection and sorting with library templates: compiled for the base instruction set only, as
// the linker may keep any one copy of a template.
#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "sample_kernels.h"

namespace legato {

float kth_largest(float* values, int32_t n, int32_t k) {
  std::nth_element(values, values + k - 1, values + n, std::greater<float>());
  return values[k - 1];
}

void first_in_order(const float* values, const int32_t* ids, int32_t n, int32_t k,
                    int32_t* sorted_ids) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const auto before = [values, ids](int32_t a, int32_t b) {
    return values[a] > values[b] || (values[a] == values[b] && ids[a] < ids[b]);
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  for (int32_t i = 0; i < k; ++i) sorted_ids[i] = ids[order[static_cast<size_t>(i)]];
}

}  // namespace legato
