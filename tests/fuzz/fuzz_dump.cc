// ParseDump(): whatever the bytes, a status; and what was read obeys the format.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exporters/pprof/dump.h"
#include "heldby/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (!heldby::IsDump(bytes)) return 0;
  const auto profile = heldby::ParseDump(bytes);
  if (profile.ok() != heldby::DumpSummary(bytes).ok()) std::abort();
  if (profile.ok() && !heldby::EncodePprof(*profile).ok()) std::abort();
  return 0;
}
