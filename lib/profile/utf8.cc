#include "profile/utf8.h"

#include <algorithm>
#include <cstdint>

namespace heldby {
namespace {

unsigned char ByteAt(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

}  // namespace

std::size_t Utf8CharacterBytes(std::string_view text) {
  const unsigned char first = ByteAt(text, 0);
  const std::size_t size = first < 0x80             ? 1
                           : first >> 5 == 0b110    ? 2
                           : first >> 4 == 0b1110   ? 3
                           : first >> 3 == 0b1'1110 ? 4
                                                    : 0;
  if (size <= 1 || size > text.size()) return size == 1 ? 1 : 0;
  std::uint32_t character = first & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if (ByteAt(text, i) >> 6 != 0b10) return 0;
    character = character << 6 | (ByteAt(text, i) & 0x3Fu);
  }
  // Written longer than it needs, a half of a surrogate pair, or past the last one.
  constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_surrogate = character >= 0xD800 && character <= 0xDFFF;
  return character < kSmallest[size] || is_surrogate || character > 0x10FFFF ? 0 : size;
}

std::string_view TakeUtf8Character(std::string_view* text) {
  const std::size_t size = Utf8CharacterBytes(*text);
  const std::string_view character = size == 0 ? kReplacementCharacter : text->substr(0, size);
  text->remove_prefix(std::max<std::size_t>(size, 1));
  return character;
}

std::string ValidUtf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) valid += TakeUtf8Character(&text);
  return valid;
}

}  // namespace heldby
