// DecodePprof(): whatever the bytes, a status; and what was read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "heldby/profile.h"
#include "profile/merge.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto profile =
      heldby::DecodePprof(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!profile.ok()) return 0;
  const auto bytes = heldby::EncodePprof(*profile);
  if (!bytes.ok()) std::abort();
  const auto again = heldby::DecodePprof(*bytes);
  if (!again.ok() || *heldby::EncodePprof(*again) != *bytes) std::abort();
  const auto nothing = heldby::Diff(*profile, *profile);
  if (!nothing.ok()) std::abort();
  return 0;
}
