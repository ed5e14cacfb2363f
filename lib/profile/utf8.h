// profile/utf8.h - texts of the program's, which may be anything, in formats that must be
// UTF-8.
//
// Threads  any.   Source  RFC 3629.
#pragma once

#include <cstddef>
#include <string_view>

namespace heldby {

/// In place of a byte that belongs to no character.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

/// Bytes of the UTF-8 character that begins here; 0: none does. REQUIRES: text is not empty.
[[nodiscard]] std::size_t Utf8CharacterBytes(std::string_view text);

}  // namespace heldby
