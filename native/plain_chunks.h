// Texts out of the HTTP chunks of a streamed answer that differ in their text alone.
//
// Nearly every token of a measured stream comes in such a chunk. Taking it apart layer by layer in
// the interpreter costs as much as the system calls that received it.
#pragma once

#include <optional>
#include <string_view>

namespace legato {

// What surrounds the text in a chunk, from the end of the line with its size on.
struct ChunkFrame {
  std::string_view before, after;
};

// The text of `piece` where that is exactly one chunk (RFC 9112, 7.1) in this frame, and its text is
// neither empty nor escaped as JSON has it; it may be no UTF-8.
std::optional<std::string_view> plain_text(std::string_view piece, const ChunkFrame& frame);

}  // namespace legato
