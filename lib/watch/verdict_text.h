// watch/verdict_text.h - the latest verdict in words, kept where a dump finds it.
//
// Threads  SetVerdictText: one at a time. CopyVerdictText: any, meanwhile.
// Signals  unsafe.
// Allocates  never.
// Bounds   kVerdictBytes; a longer text is cut at a line.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace heldby::watch {

inline constexpr std::size_t kVerdictBytes = 8 << 10;

/// From now on dumps begin with this text. Two of them are kept, so that a reader has the one
/// before while this one is being copied.
void SetVerdictText(std::string_view text);

/// Returns its size; 0: there has been none, or it changed twice meanwhile.
std::size_t CopyVerdictText(std::span<char, kVerdictBytes> text);

}  // namespace heldby::watch
