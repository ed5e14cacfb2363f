// heldby/custom_profile.h - a profile of the program's own: what it has and must give back.
//
// Threads  every function: any thread, any time; a lock of the profile's own inside.
// Signals  unsafe: Add() allocates.
// Self     what it allocates is not sampled.
// Units    one column, NAME/count.
// Bounds   100,000 entries a profile; beyond them Add() counts what it leaves out, and the
//          profile says how many.
// Source   Go's runtime/pprof NewProfile: docs/endpoint.md.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby {

struct CustomProfileState;

/// Files, leases, handles: whatever is opened and closed. Add() where it is opened, Remove()
/// where it is closed; what is still there, by the stack that added it, is
/// `go tool pprof http://HOST/debug/pprof/NAME`.
class CustomProfile {
 public:
  /// Served from now on, as long as the process lives. `name` becomes a part of the path and of
  /// texts, and the type of its values: letters, digits and any of _ . (scrapers refuse others,
  /// a hyphen too), and at most 64 of them.
  ///
  /// kInvalidArgument     the name is empty, too long or has another character
  /// kFailedPrecondition  a profile of that name exists
  [[nodiscard]] static Result<CustomProfile> Create(std::string_view name);

  /// `key`, any address that is its own as long as it is there, with the stack of this call.
  /// False: it is in it already, or there is no room; nothing has changed.
  bool Add(const void* key);
  /// False: it was not in it.
  bool Remove(const void* key);
  [[nodiscard]] std::size_t Count() const;
  [[nodiscard]] const std::string& name() const;

 private:
  explicit CustomProfile(CustomProfileState* state) : state_(state) {}

  CustomProfileState* state_;  // lives for ever, as what is added may be removed at any time
};

/// By name. kNotFound  there is none of that name; else as SnapshotHeap().
[[nodiscard]] Result<Profile> SnapshotCustomProfile(std::string_view name);
[[nodiscard]] std::size_t CountCustomProfile(std::string_view name);
/// Sorted.
[[nodiscard]] std::vector<std::string> CustomProfileNames();

}  // namespace heldby
