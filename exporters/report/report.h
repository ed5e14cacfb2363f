// exporters/report/report.h - the reports of `heldby top` and `heldby text`.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    chosen as pprof does: one for all rows of a table, its own for each sample.
// Source   `go tool pprof -top` and -traces of Go 1.19: the same numbers in the same places,
//          compared on saved files in tests/unit/report/ and tests/e2e/report_test.py.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/report/filter.h"
#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::report {

/// What makes two frames the same row.
enum class Granularity { kFunctions, kFileFunctions, kFiles, kLines, kAddresses };

struct Options {
  std::string sample_index{};  // a column's name or number; empty: the profile's default
  std::size_t node_count = 0;  // rows; 0: all that are large enough
  double node_fraction = 0.005;
  double edge_fraction = 0.001;
  bool sort_by_cum = false;
  bool drop_negative = false;
  bool no_inlines = false;
  std::string unit = "minimum";
  Granularity granularity = Granularity::kFunctions;
  std::vector<std::string> tag_roots{};
  Filters filters{};
};

struct Report {
  std::string text{};
  std::vector<std::string> warnings{};
};

/// flat, flat%, sum%, cum, cum%, name.
/// kInvalidArgument  no such column, or a malformed filter.
[[nodiscard]] Result<Report> Top(Profile profile, const Options& options);

/// Every sample with its labels and its stack.
[[nodiscard]] Result<Report> Traces(Profile profile, const Options& options);

/// kInvalidArgument  the message lists the columns there are.
[[nodiscard]] Result<std::size_t> FindColumn(const Profile& profile, std::string_view name);

}  // namespace heldby::report
