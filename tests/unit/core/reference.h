// Our walk beside libgcc's, for the tests of the unwinder: the same stack must come out of
// both.
#pragma once

#include <link.h>
#include <unwind.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/stack/capture.h"

namespace heldby::core {

struct Reference {
  int depth = 0;
  std::uintptr_t frames[2 * kMaxStackDepth];
};

/// The calling stack by libgcc, which interprets every row anew and is what the platform itself
/// throws exceptions by. Return addresses; an interrupted instruction plus one.
inline void CaptureReference(Reference* reference) {
  reference->depth = 0;
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* argument) {
        auto* to = static_cast<Reference*>(argument);
        int before = 0;
        const std::uintptr_t pc = _Unwind_GetIPInfo(context, &before);
        if (pc == 0 || to->depth == 2 * kMaxStackDepth) return _URC_END_OF_STACK;
        to->frames[to->depth++] = pc + (before != 0 ? 1 : 0);
        return _URC_NO_REASON;
      },
      reference);
}

enum class Verdict {
  kIdentical,
  kTruncated,  // ours gave up, and says so; what there is agrees
  kLonger,     // libgcc stopped at code without a row; ours went on
  kDifferent,
  kAbsent,  // libgcc does not have our first frame
};

inline Verdict Compare(const Stack& ours, const Reference& reference) {
  const std::uintptr_t* end = reference.frames + reference.depth;
  const std::uintptr_t* from = std::find(reference.frames, end, ours.frames[0]);
  if (ours.depth == 0 || from == end) return Verdict::kAbsent;
  const auto count = static_cast<int>(end - from);
  const auto same = static_cast<int>(
      std::mismatch(ours.frames, ours.frames + std::min(ours.depth, count), from).first -
      ours.frames);
  if (same == ours.depth && (same == count || same == kMaxStackDepth))
    return Verdict::kIdentical;
  if (same == ours.depth && ours.truncated) return Verdict::kTruncated;
  return same == count ? Verdict::kLonger : Verdict::kDifferent;
}

/// libgcc's own walk dies at the end of its _Unwind_Resume, where registers are already those
/// of another frame; it is not to be asked there.
inline bool IsInLibgcc(std::uintptr_t pc) {
  dl_find_object found;
  return _dl_find_object(reinterpret_cast<void*>(pc), &found) == 0 &&
         std::strstr(found.dlfo_link_map->l_name, "libgcc_s") != nullptr;
}

}  // namespace heldby::core
