#include "exporters/pprof/read.h"

#include <string>

#include "exporters/pprof/dump.h"
#include "exporters/pprof/gzip.h"
#include "exporters/pprof/legacy.h"
#include "profile/text.h"

namespace heldby {
namespace {

Result<Profile> ParseAny(std::string_view bytes) {
  if (IsDump(bytes)) return ParseDump(bytes);
  if (IsLegacy(bytes)) return ParseLegacy(bytes);
  Result<Profile> profile = DecodePprof(bytes);
  if (profile.ok()) return profile;
  return Status(profile.status().code(),
                Concat("neither a gperftools or Go text or CPU profile nor profile.proto (",
                       profile.status().message(), ")"));
}

}  // namespace

Result<Profile> ReadProfile(std::string_view input, bool* is_legacy) {
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
  if (is_legacy != nullptr) *is_legacy = IsLegacy(input);
  return ParseAny(input);
}

}  // namespace heldby
