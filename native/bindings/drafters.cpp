// The drafters that copy, each as Python sees it.
#include <nanobind/stl/shared_ptr.h>

#include <algorithm>

#include "../drafts/lookup.h"
#include "../drafts/recall.h"
#include "../drafts/suffix.h"
#include "bindings.h"

namespace legato {
namespace {

template <class T>
using Values = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int64_t kMostGuesses = 1 << 16;

template <class T>
std::span<const T> span_of(const Values<T>& values) {
  return {values.data(), values.size()};
}

size_t shared(int64_t tokens) {
  if (tokens < 0) throw nb::value_error("shared_tokens: at least 0");
  return static_cast<size_t>(tokens);
}

// A draft and what it guessed last.
struct OpenDraft {
  std::unique_ptr<Draft> draft;
  std::vector<Guess> guesses;
};

std::vector<int32_t> guessed(const OpenDraft& open, int32_t Guess::*what) {
  std::vector<int32_t> values(open.guesses.size());
  std::ranges::transform(open.guesses, values.begin(), what);
  return values;
}

std::vector<int32_t> propose(OpenDraft& open, int64_t count) {
  if (count < 0 || count > kMostGuesses) {
    throw nb::value_error(("count: 0 to " + std::to_string(kMostGuesses)).c_str());
  }
  open.draft->propose(static_cast<size_t>(count), open.guesses);
  return guessed(open, &Guess::token);
}

void init_recall(RecallDrafter* self, const Values<int64_t>& keys, const TokenIds& tokens,
                 const Values<uint8_t>& classes, std::vector<double> rates,
                 int64_t shared_tokens) {
  NGramTable table(span_of(keys), span_of(tokens), span_of(classes));
  new (self) RecallDrafter({std::move(table), std::move(rates)}, shared(shared_tokens));
}

}  // namespace

std::span<const int32_t> token_ids(const TokenIds& tokens, size_t known) {
  const std::span<const int32_t> ids(tokens.data(), tokens.size());
  if (std::ranges::any_of(ids.subspan(known), [](int32_t id) { return id < 0; })) {
    throw nb::value_error("tokens: token ids are not negative");
  }
  return ids;
}

void bind_drafters(nb::module_& m) {
  nb::class_<OpenDraft>(m, "Draft")
      .def(
          "extend",
          [](OpenDraft& self, const TokenIds& tokens) { self.draft->extend(token_ids(tokens)); },
          "tokens"_a.noconvert())
      .def("propose", &propose, "count"_a)
      .def_prop_ro("confidences",
                   [](const OpenDraft& self) { return guessed(self, &Guess::confidence); })
      .def(
          "finish",
          [](OpenDraft& self, const TokenIds& output) { self.draft->finish(token_ids(output)); },
          "output"_a.noconvert());
  nb::class_<Drafter>(m, "Drafter")
      .def(
          "open",
          [](Drafter& self, const std::string& tenant) { return OpenDraft{self.open(tenant), {}}; },
          "tenant"_a);
  nb::class_<LookupDrafter, Drafter>(m, "LookupDrafter").def(nb::init<>());
  nb::class_<SuffixDrafter, Drafter>(m, "SuffixDrafter")
      .def(
          "__init__",
          [](SuffixDrafter* self, int64_t tokens) { new (self) SuffixDrafter(shared(tokens)); },
          "shared_tokens"_a);
  nb::class_<RecallDrafter, Drafter>(m, "RecallDrafter")
      .def("__init__", &init_recall, "keys"_a.noconvert(), "tokens"_a.noconvert(),
           "classes"_a.noconvert(), "rates"_a, "shared_tokens"_a);
}

}  // namespace legato
