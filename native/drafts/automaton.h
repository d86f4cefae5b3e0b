// Suffix automaton of a growing text (Blumer et al. 1985, "The smallest automaton recognizing the
// subwords of a text"); legato/speculative/automaton.py defines it.
#pragma once

#include <span>
#include <vector>

#include "copying.h"
#include "flat_map.h"

namespace legato {

// Recognises every substring of a text. A state stands for substrings that end at the same places.
// Most states have one transition, which is beside the rest of the state; what others have beyond
// their first is in one table of them all.
class SuffixAutomaton {
 public:
  // The longest end of some text that occurs in this one, and the state that stands for it.
  struct Position {
    int32_t state = kRoot;
    int32_t length = 0;
  };

  SuffixAutomaton();

  std::span<const int32_t> text() const { return text_; }

  // Appends `tokens` to the text.
  void extend(std::span<const int32_t> tokens);

  // The longest suffix of the text that occurs earlier, too, and where; length 0 without one.
  Match repeated_suffix() const;

  // Where a text is after `token` that was at `from` before.
  Position follow(Position from, int32_t token) const;

  // The occurrence of what is at `position`, the newest one known.
  Match match_at(Position position) const {
    return {position.length, states_[static_cast<size_t>(position.state)].end};
  }

 private:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNobody = -1;

  // `length` is that of its longest substring, `link` the state of the longest suffix that ends at
  // more places, `end` the place of one occurrence's last token.
  struct State {
    int32_t link = kRoot;
    int32_t length = 0;
    int32_t end = -1;
    int32_t token = -1;  // of the first transition
    int32_t target = kNobody;
    int32_t others = kNobody;  // number of the newest other transition
  };

  // The token of a transition that is not its state's first, and the number of another one.
  struct Other {
    int32_t token;
    int32_t next;
  };

  State& at(int32_t state) { return states_[static_cast<size_t>(state)]; }
  const State& at(int32_t state) const { return states_[static_cast<size_t>(state)]; }

  void append(int32_t token);
  int32_t add_state(int32_t length, int32_t end);
  int32_t target(int32_t state, int32_t token) const;
  void add_transition(int32_t state, int32_t token, int32_t target);
  void redirect(int32_t state, int32_t token, int32_t target);
  int32_t longest_target(int32_t state, int32_t token);
  int32_t split(int32_t whole, int32_t length);

  std::vector<int32_t> text_;
  std::vector<State> states_;
  std::vector<Other> others_;
  FlatMap<int32_t> targets_;  // of others, by state and token
  int32_t last_ = kRoot;
};

}  // namespace legato
