// collect/stack_locations.h - return addresses of the core's as locations of a profile.
//
// Threads  an object serves one profile.   Signals  unsafe: allocates.
// Units    a return address may be the first byte of the next function: locations are of the
//          call, one byte before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/core.h"
#include "profile/builder.h"

namespace heldby::collect {

class StackLocations {
 public:
  StackLocations(const core::CoreApi& core, ProfileBuilder* builder)
      : core_(core), builder_(*builder) {}

  /// The modules are those of core::Stack. Code that was unloaded since has one location that
  /// says so.
  [[nodiscard]] std::vector<LocationId> Of(const std::uintptr_t* frames,
                                           const std::uint16_t* modules, std::size_t depth,
                                           bool truncated);

  [[nodiscard]] std::vector<LocationId> Of(const core::StackView& stack) {
    if (stack.depth == 0) return {Of(Synthetic::kStackTableFull)};
    return Of(stack.frames, stack.modules, stack.depth, stack.truncated);
  }

  enum class Synthetic : std::uint64_t {
    kStackTableFull = 0x1001,
    kTruncated = 0x1002,
    kNoStack = 0x1003,
  };
  [[nodiscard]] LocationId Of(Synthetic what);

  /// A place in the source that the program told us of: named by its texts; its address is made
  /// of the place's id, and so is the same in every profile of this process.
  [[nodiscard]] LocationId OfPlace(std::uint32_t place_id, const std::string& function,
                                   const std::string& file, std::uint32_t line);
  /// Any address of a function.
  [[nodiscard]] LocationId OfCode(std::uintptr_t address) {
    return builder_.AddLocation(MappingId::kNone, address);
  }

 private:
  bool IsReplaced(std::uintptr_t call, std::uint16_t module);
  LocationId Unloaded(std::uintptr_t call);

  const core::CoreApi& core_;
  ProfileBuilder& builder_;
  std::vector<core::ModuleRange> modules_;  // asked for in this profile; the last one first
};

}  // namespace heldby::collect
