// ParseLegacy(): whatever the bytes, a status; and what was read obeys the format.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exporters/pprof/legacy.h"
#include "exporters/pprof/text.h"
#include "heldby/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto profile =
      heldby::ParseLegacy(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!profile.ok()) return 0;
  if (!heldby::EncodePprof(*profile).ok()) std::abort();
  // Texts of what came from a text are texts again.
  if (profile->sample_types.size() == 4) {
    const auto text = heldby::HeapText(*profile, profile->period);
    if (!text.ok() || !heldby::ParseLegacy(*text).ok()) std::abort();
  }
  return 0;
}
