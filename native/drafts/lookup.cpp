#include "lookup.h"

#include <array>
#include <utility>

#include "copying.h"
#include "flat_map.h"

namespace legato {
namespace {

constexpr int32_t kShortest = 2;
constexpr int32_t kLongest = 4;
constexpr size_t kLengths = kLongest - kShortest + 1;

// A number that an n-gram has for itself among those of its length, and where it ended last.
struct Gram {
  int32_t number;
  int32_t place;
};

// The places of all n-grams of one text, the newest of each. An n-gram is known by the number of
// the shorter one that it begins with and by its last token.
class LookupDraft : public Draft {
 public:
  void extend(std::span<const int32_t> tokens) override {
    for (const int32_t token : tokens) append(token);
  }

  void propose(size_t count, std::vector<Guess>& found) override {
    copied(text_, match_, match_.length ? count : 0, found);
  }

  void finish(std::span<const int32_t>) override {}

 private:
  void append(int32_t token) {
    const auto place = static_cast<int32_t>(text_.size());
    std::array<int32_t, kLengths + 1> ending{token};  // those of one token are their own numbers
    match_ = {};
    for (size_t i = 0; i < kLengths && i < text_.size(); ++i) {
      const auto number = static_cast<int32_t>(grams_[i].size());
      Gram& gram = grams_[i].find_or_add(key_of(ending_[i], token), {number, -1});
      ending[i + 1] = gram.number;
      const int32_t earlier = std::exchange(gram.place, place);
      if (earlier >= 0) match_ = {kShortest + static_cast<int32_t>(i), earlier};
    }
    ending_ = ending;
    text_.push_back(token);
  }

  std::vector<int32_t> text_;
  std::array<FlatMap<Gram>, kLengths> grams_;   // by length, the shortest first
  std::array<int32_t, kLengths + 1> ending_{};  // numbers of those that end the text, from 1 token
  Match match_;
};

}  // namespace

std::unique_ptr<Draft> LookupDrafter::open(const std::string&) {
  return std::make_unique<LookupDraft>();
}

}  // namespace legato
