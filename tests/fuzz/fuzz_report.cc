// `heldby top` and `heldby text`: whatever the profile, a report or a reason, in bounded time.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "exporters/report/combine.h"
#include "exporters/report/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heldby::report;
  auto profile = ReadForReport(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!profile.ok()) return 0;
  Sources sources;
  sources.profiles = {*profile, *profile};
  sources.bases = {*profile};
  sources.kind = size % 2 == 0 ? BaseKind::kSubtract : BaseKind::kCompare;
  sources.normalize = size % 3 == 0;
  const auto combined = Combine(sources);
  if (!combined.ok()) return 0;
  Options options;
  options.node_count = size % 5;
  options.sort_by_cum = size % 7 == 0;
  options.granularity = static_cast<Granularity>(size % 5);
  options.tag_roots = {"bytes", "route"};
  options.filters = {.focus = "a|b|.*", .hide = "malloc", .tagignore = "bytes=7gb:"};
  const auto top = Top(*combined, options);
  const auto traces = Traces(*combined, options);
  // The options are sound, so only a filter's match could fail: never.
  if (!top.ok() || !traces.ok() || top->text.empty()) std::abort();
  return 0;
}
