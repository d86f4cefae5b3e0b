#include "plain_chunks.h"

#include <charconv>

namespace legato {
namespace {

constexpr size_t kLongestSize = 8;  // hexadecimal digits
constexpr size_t kLineEnd = 2;

// Whether `line` is `size` in hexadecimal digits, and nothing else.
bool says(std::string_view line, size_t size) {
  size_t said = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), said, 16);
  return error == std::errc() && end == line.data() + line.size() && said == size;
}

}  // namespace

std::optional<std::string_view> plain_text(std::string_view piece, const ChunkFrame& frame) {
  const size_t line = piece.substr(0, kLongestSize + kLineEnd).find("\r\n");
  if (line == std::string_view::npos) return {};
  const std::string_view rest = piece.substr(line);
  const size_t around = frame.before.size() + frame.after.size();
  if (rest.size() <= around || !rest.starts_with(frame.before) || !rest.ends_with(frame.after) ||
      !says(piece.substr(0, line), rest.size() - 2 * kLineEnd)) {
    return {};
  }
  const std::string_view text = rest.substr(frame.before.size(), rest.size() - around);
  if (text.find_first_of("\"\\") != std::string_view::npos) return {};
  return text;
}

}  // namespace legato
