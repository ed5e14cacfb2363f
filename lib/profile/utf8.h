// profile/utf8.h - texts of the program's, which may be anything, in formats that must be
// UTF-8.
//
// Threads  any.   Allocates  ValidUtf8.   Source  RFC 3629.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace heldby {

/// In place of a byte that belongs to no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Bytes of the UTF-8 character that begins here; 0: none does. REQUIRES: text is not empty.
[[nodiscard]] std::size_t Utf8CharacterBytes(std::string_view text);

/// Takes the first character off, or a byte that belongs to none: that one comes as the
/// replacement character. REQUIRES: `*text` is not empty.
[[nodiscard]] std::string_view TakeUtf8Character(std::string_view* text);

/// With each byte that belongs to no character replaced.
[[nodiscard]] std::string ValidUtf8(std::string_view text);

}  // namespace heldby
