// heldby/labels.h - words of the program's own on what it allocates, as Go's pprof.Do.
//
// Threads    the thread that opened the scope.
// Signals    unsafe.
// Self       allocations made inside are never sampled.
// Allocates  never: a set is kept once, in a table of the library's.
// Bounds     16 labels, 127 bytes a key and a value, about 100,000 different sets ever; one
//            beyond them is {other="true"} (HeapCounters::dropped_label_sets_total). Labels
//            name kinds of work (a route, a tenant), not single requests.
// Source     docs/holders.md.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace heldby {

/// While it lives, these labels are on every sample of this thread, beside those around it; the
/// inner value of a key wins. In every profile: `go tool pprof -tags`, `-tagroot=route`.
class ScopedLabels {
 public:
  ScopedLabels(std::initializer_list<std::pair<std::string_view, std::string_view>> labels);
  ScopedLabels(const ScopedLabels&) = delete;
  ScopedLabels& operator=(const ScopedLabels&) = delete;
  ~ScopedLabels();

 private:
  std::uint32_t before_;
};

}  // namespace heldby
