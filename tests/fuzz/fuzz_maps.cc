// ParseMaps(): whatever the text, only ranges that have an inside.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exporters/pprof/legacy_parts.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  heldby::legacy::Budget budget;
  const auto mappings = heldby::legacy::ParseMaps(text, &budget);
  if (!mappings.ok()) return 0;
  for (const heldby::Mapping& mapping : *mappings) {
    if (mapping.start >= mapping.limit) std::abort();
  }
  return 0;
}
