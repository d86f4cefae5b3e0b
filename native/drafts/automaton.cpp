#include "automaton.h"

namespace legato {

SuffixAutomaton::SuffixAutomaton() { at(add_state(0, -1)).link = kNobody; }

void SuffixAutomaton::extend(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) append(token);
}

Match SuffixAutomaton::repeated_suffix() const {
  const int32_t state = at(last_).link;
  return state > kRoot ? Match{at(state).length, at(state).end} : Match{};
}

SuffixAutomaton::Position SuffixAutomaton::follow(Position from, int32_t token) const {
  int32_t next = target(from.state, token);
  while (next == kNobody && from.state != kRoot) {
    from.state = at(from.state).link;
    from.length = at(from.state).length;
    next = target(from.state, token);
  }
  return next == kNobody ? Position{} : Position{next, from.length + 1};
}

void SuffixAutomaton::append(int32_t token) {
  const auto place = static_cast<int32_t>(text_.size());
  const int32_t repeated = at(last_).link;
  if (repeated > kRoot) at(repeated).end = place - 1;  // its newest occurrence, now the past
  const int32_t added = add_state(at(last_).length + 1, place);
  int32_t state = last_;
  while (state != kNobody && target(state, token) == kNobody) {
    add_transition(state, token, added);
    state = at(state).link;
  }
  const int32_t link = state == kNobody ? kRoot : longest_target(state, token);
  at(added).link = link;
  last_ = added;
  text_.push_back(token);
}

int32_t SuffixAutomaton::add_state(int32_t length, int32_t end) {
  states_.push_back({.length = length, .end = end});
  return static_cast<int32_t>(states_.size()) - 1;
}

int32_t SuffixAutomaton::target(int32_t state, int32_t token) const {
  const State& from = at(state);
  if (from.token == token) return from.target;
  if (from.others == kNobody) return kNobody;
  const int32_t* other = targets_.find(key_of(state, token));
  return other ? *other : kNobody;
}

void SuffixAutomaton::add_transition(int32_t state, int32_t token, int32_t target) {
  State& from = at(state);
  if (from.target == kNobody) {
    from.token = token;
    from.target = target;
    return;
  }
  others_.push_back({token, from.others});
  from.others = static_cast<int32_t>(others_.size()) - 1;
  targets_.find_or_add(key_of(state, token), target);
}

void SuffixAutomaton::redirect(int32_t state, int32_t token, int32_t target) {
  State& from = at(state);
  (from.token == token ? from.target : *targets_.find(key_of(state, token))) = target;
}

// The state of the longest substring of `state` followed by `token`, split off if needed.
int32_t SuffixAutomaton::longest_target(int32_t state, int32_t token) {
  const int32_t whole = target(state, token);
  const int32_t length = at(state).length + 1;
  if (at(whole).length == length) return whole;
  const int32_t part = split(whole, length);
  while (state != kNobody && target(state, token) == whole) {
    redirect(state, token, part);
    state = at(state).link;
  }
  return part;
}

// A new state for the substrings of `whole` of up to `length` tokens, with the same transitions.
int32_t SuffixAutomaton::split(int32_t whole, int32_t length) {
  const int32_t part = add_state(length, at(whole).end);
  at(part).link = at(whole).link;
  at(whole).link = part;
  at(part).token = at(whole).token;
  at(part).target = at(whole).target;
  for (int32_t i = at(whole).others; i != kNobody; i = others_[static_cast<size_t>(i)].next) {
    const int32_t token = others_[static_cast<size_t>(i)].token;
    add_transition(part, token, *targets_.find(key_of(whole, token)));
  }
  return part;
}

}  // namespace legato
