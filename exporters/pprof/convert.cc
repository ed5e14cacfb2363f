#include "exporters/pprof/convert.h"

#include <exception>
#include <new>

#include "exporters/pprof/read.h"
#include "heldby/profile.h"

namespace heldby {
Result<std::string> ConvertToPprof(std::string_view input) try {
  const Result<Profile> profile = ReadProfile(input);
  if (!profile.ok()) return profile.status();
  return EncodePprof(*profile);
} catch (const std::bad_alloc&) {
  return Status(StatusCode::kResourceExhausted, "no memory to convert the profile");
} catch (const std::exception& error) {
  return Status(StatusCode::kInternal, error.what());
}

}  // namespace heldby
