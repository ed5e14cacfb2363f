// exporters/http/router.h - from a request to a response; no sockets here.
//
// Threads  any, concurrently: a Router is constant after construction.
// Signals  unsafe: allocates.
// Self     callers hold an UnsampledScope (heldby::Handle and the server's threads do).
// Units    seconds in query parameters, bytes in bodies.
// Bounds   seconds are clamped to 1..300; a symbol body to 1 MiB.
// Source   docs/endpoint.md, row by row in tests/unit/http/router_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "exporters/http/delta_series.h"
#include "exporters/http/handlers.h"
#include "exporters/http/profile_table.h"
#include "exporters/http/symbols_page.h"
#include "exporters/http/target.h"
#include "heldby/http.h"

namespace heldby::http {

inline constexpr std::size_t kMaxSymbolBodyBytes = 1 << 20;

class Router {
 public:
  /// Over what this process has.
  Router();
  /// With deltas of its own. REQUIRES: `profiles` is sorted by name and outlives the router.
  Router(std::span<const ProfileEntry> profiles, SymbolNamesFunction symbol_names);

  [[nodiscard]] Response Route(const Request& request) const;

  /// How much body is worth reading for this request: 0 where no handler looks at it.
  [[nodiscard]] static std::size_t MaxBodyBytes(const Request& request);

  /// True if Route() waits for as long as the client has asked for.
  [[nodiscard]] static bool Waits(const Request& request);

  /// True if reading it costs somebody: it is measured while the client waits, or is taken from
  /// the next who asks. Not for a foreign page to set off.
  [[nodiscard]] static bool HasEffect(const Request& request);

  /// True if Route() answers at once and touches no profile: fit for a thread that must not
  /// wait.
  [[nodiscard]] static bool IsImmediate(const Request& request);

 private:
  Response Dispatch(const Request& request) const;
  [[nodiscard]] std::optional<ProfileEntry> Find(std::string_view name) const;
  Response Named(const Request& request, std::string_view name, const Target& target) const;

  std::span<const ProfileEntry> profiles_;
  SymbolNamesFunction symbol_names_;
  std::shared_ptr<DeltaSeriesSet> deltas_;
};

}  // namespace heldby::http
