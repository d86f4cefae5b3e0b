// The face of the native book of drafts.
#include "../drafts/book.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>

#include "bindings.h"

namespace legato {
namespace {

// What (text, tokens, count) tuples ask for; the tuples keep the tokens alive.
std::vector<Asked> read_asked(const nb::list& tuples) {
  std::vector<Asked> asked;
  asked.reserve(tuples.size());
  for (const nb::handle item : tuples) {
    const auto one = nb::cast<nb::tuple>(item);
    if (one.size() != 3) throw nb::value_error("asked: (text, tokens, count) of each text");
    auto& text = nb::cast<DraftedText&>(one[0]);
    const auto tokens = nb::cast<TokenIds>(one[1]);
    if (tokens.size() < text.known()) throw nb::value_error("the tokens of a text only grow");
    asked.push_back({&text, token_ids(tokens, text.known()), nb::cast<size_t>(one[2])});
  }
  return asked;
}

// (the draft of each text, how many tokens are expected to be right)
nb::tuple drafts_of(const std::vector<Asked>& asked, const ChosenDrafts& chosen) {
  nb::list drafts;
  for (size_t i = 0; i < asked.size(); ++i) {
    nb::list draft;
    const auto guesses = asked[i].text->guesses();
    const size_t depth = std::min(chosen.depths[i], guesses.size());
    for (const Guess& guess : guesses.first(depth)) draft.append(guess.token);
    drafts.append(draft);
  }
  return nb::make_tuple(drafts, chosen.expected);
}

// `prices`: a RowPrices of legato/speculative/row_prices.py.
nb::tuple propose(Book& book, const nb::list& tuples, nb::handle prices, double limit_ns) {
  const auto times = nb::cast<std::vector<double>>(prices.attr("times"));
  if (times.empty()) throw nb::value_error("times: at least that of the step without drafts");
  const DraftTerms terms{nb::cast<size_t>(prices.attr("decodes")), times, limit_ns,
                         nb::cast<double>(prices.attr("margin"))};
  const std::vector<Asked> asked = read_asked(tuples);
  return drafts_of(asked,
                   book.propose(asked, terms, nb::cast<double>(prices.attr("least_gain"))));
}

nb::tuple propose_all(Book& book, const nb::list& tuples, size_t max_rows) {
  const std::vector<Asked> asked = read_asked(tuples);
  return drafts_of(asked, book.propose_all(asked, max_rows));
}

Rates read_rates(const std::vector<std::vector<double>>& priors) {
  if (priors.empty() || priors[0].empty()) throw nb::value_error("priors: none are given");
  Rates rates{{}, priors[0].size()};
  for (const std::vector<double>& places : priors) {
    if (places.size() != rates.places) throw nb::value_error("priors: rows differ in length");
    rates.values.insert(rates.values.end(), places.begin(), places.end());
  }
  return rates;
}

}  // namespace

void bind_draft_book(nb::module_& m) {
  nb::class_<DraftedText>(m, "DraftedText");
  nb::class_<Book>(m, "Book")
      .def(
          "__init__",
          [](Book* self, std::shared_ptr<Drafter> drafter,
             const std::vector<std::vector<double>>& priors, double decay, double prior_trials,
             double min_gain) {
            new (self)
                Book(std::move(drafter), read_rates(priors), {decay, prior_trials}, min_gain);
          },
          "drafter"_a, "priors"_a, "decay"_a, "prior_trials"_a, "min_gain"_a)
      .def("open", &Book::open, "tenant"_a)
      .def("propose", &propose, "asked"_a, "prices"_a, "limit_ns"_a)
      .def("propose_all", &propose_all, "asked"_a, "max_rows"_a)
      .def("verified", &Book::verified, "text"_a, "drafted"_a, "accepted"_a)
      .def(
          "finish",
          [](Book&, DraftedText& text, const TokenIds& output) { text.finish(token_ids(output)); },
          "text"_a, "output"_a);
}

}  // namespace legato
