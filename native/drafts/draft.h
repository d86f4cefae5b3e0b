// What a drafter is: it guesses how a text goes on, and is told how the text went on.
//
// The drafters of legato/speculative define what is to be guessed; these guess the same, several
// times as fast: a step streams all weights through the caches, and whatever Python has to touch
// between two steps comes from memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace legato {

// A token that may come next, and how well founded that is: a class from 0 on.
struct Guess {
  int32_t token;
  int32_t confidence;
};

// The drafting state of one text. It is told every token once, in order.
class Draft {
 public:
  virtual ~Draft() = default;

  // The text goes on with `tokens`; the first call brings the prompt.
  virtual void extend(std::span<const int32_t> tokens) = 0;

  // Replaces `found` by at most `count` guesses of the next tokens, in order.
  virtual void propose(size_t count, std::vector<Guess>& found) = 0;

  // The text has ended; `output` is what was generated of it.
  virtual void finish(std::span<const int32_t> output) = 0;
};

// Makes drafts; one for an engine, and not thread-safe, nor are its drafts.
class Drafter {
 public:
  virtual ~Drafter() = default;

  // The state of a new text; nothing is shared between tenants.
  virtual std::unique_ptr<Draft> open(const std::string& tenant) = 0;
};

}  // namespace legato
