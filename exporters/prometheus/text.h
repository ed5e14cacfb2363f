// exporters/prometheus/text.h - Prometheus's text format, version 0.0.4.
//
// Threads  pure functions: any.
// Signals  unsafe: allocates.
// Source   prometheus.io/docs/instrumenting/exposition_formats.
//
// The writer is ours, and writes what prometheus-cpp's TextSerializer writes (a test compares
// the bytes), but for help texts, which that one does not escape. It is not called here: this
// library is loaded into programs that may bring another version of prometheus-cpp, whose
// functions would then be found first and be given our version's structures.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "heldby/metrics.h"
#include "profile/flat_hash.h"

namespace heldby::prometheus_text {

using FamilyNames = FlatHashSet<std::string>;

/// Appends each family; those whose name or label names are not valid, or whose name is in
/// `written` already, are left out. Returns how many were.
int AppendFamilies(const std::vector<MetricFamily>& families, FamilyNames* written,
                   std::string* text);

/// Appends what somebody else has written, family by family, as far as it is in the format:
/// a line that Prometheus would refuse, and the whole page with it, ends its family there, and
/// bytes that are no text are replaced. Those that are left out, because of that or because
/// their name is in `written` already, are counted.
int AppendText(std::string_view theirs, FamilyNames* written, std::string* text);

}  // namespace heldby::prometheus_text
