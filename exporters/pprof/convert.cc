#include "exporters/pprof/convert.h"

#include <exception>
#include <new>

#include "exporters/pprof/gzip.h"
#include "exporters/pprof/legacy.h"
#include "heldby/profile.h"
#include "profile/text.h"

namespace heldby {
namespace {

Result<Profile> ParseAny(std::string_view bytes) {
  if (IsLegacy(bytes)) return ParseLegacy(bytes);
  Result<Profile> profile = DecodePprof(bytes);
  if (profile.ok()) return profile;
  return Status(profile.status().code(),
                Concat("neither a gperftools or Go text or CPU profile nor profile.proto (",
                       profile.status().message(), ")"));
}

}  // namespace

Result<std::string> ConvertToPprof(std::string_view input) try {
  if (input.size() > kMaxProfileBytes) {
    return Status(StatusCode::kResourceExhausted, "more than 256 MiB: not read");
  }
  std::string unpacked;
  if (IsGzip(input)) {
    Result<std::string> raw = Gunzip(input, kMaxProfileBytes);
    if (!raw.ok()) return raw.status();
    unpacked = *std::move(raw);
    input = unpacked;
  }
  const Result<Profile> profile = ParseAny(input);
  if (!profile.ok()) return profile.status();
  return EncodePprof(*profile);
} catch (const std::bad_alloc&) {
  return Status(StatusCode::kResourceExhausted, "no memory to convert the profile");
} catch (const std::exception& error) {
  return Status(StatusCode::kInternal, error.what());
}

}  // namespace heldby
