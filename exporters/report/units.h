// exporters/report/units.h - a value in the unit that suits it, as pprof prints it.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    bytes by 1024 (B kB ... PB), time (ns us ms s hrs), GCU by 1000. Any other unit
//          stands behind the number as it is; "count" and the like do not stand there at all.
// Source   the behaviour of `go tool pprof`, compared in tests/unit/report/ and tests/e2e/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace heldby::report {

struct Scaled {
  double value = 0;
  std::string unit{};
};

/// `to`: a unit, or "minimum" or "auto" for the largest unit that keeps the value at 1 or more.
/// A unit of another family becomes the base unit of `from`'s.
[[nodiscard]] Scaled Scale(std::int64_t value, std::string_view from, std::string_view to);

/// Two decimals, which are left out where they are 00: "1.50MB", "3s", "0".
[[nodiscard]] std::string ScaledText(std::int64_t value, std::string_view from,
                                     std::string_view to);

/// Six characters, of the absolute value: "  100%", "33.33%", " 0.05%".
[[nodiscard]] std::string Percentage(std::int64_t value, std::int64_t total);

}  // namespace heldby::report
