#include "tools/dump.h"

#include <utility>

#include "exporters/pprof/dump.h"
#include "exporters/pprof/gzip.h"
#include "exporters/pprof/read.h"
#include "heldby/profile.h"
#include "profile/trim.h"
#include "symbolize/from_files.h"

namespace heldby::tools {
namespace {

// Of a damaged stream the caller's own reader says what is wrong.
std::string Unpacked(std::string bytes) {
  if (!IsGzip(bytes)) return bytes;
  Result<std::string> raw = Gunzip(bytes, kMaxProfileBytes);
  return raw.ok() ? *std::move(raw) : bytes;
}

}  // namespace

Result<std::string> WithNames(std::string bytes) {
  const std::string raw = Unpacked(bytes);
  if (!IsDump(raw)) return bytes;
  Result<Profile> profile = ParseDump(raw);
  if (!profile.ok()) return profile.status();
  symbolize::SymbolizeFromFiles(&*profile);
  TrimAllocationFrames(&*profile);
  return EncodePprof(*profile);
}

Result<std::string> SummaryOf(const std::string& bytes) {
  const std::string raw = Unpacked(bytes);
  if (!IsDump(raw)) {
    return Status(StatusCode::kInvalidArgument,
                  "no dump; accepted: what HELDBY_DUMP_DIR has made, *.heap and *.box");
  }
  const Result<std::string_view> summary = DumpSummary(raw);
  if (!summary.ok()) return summary.status();
  return std::string(*summary);
}

}  // namespace heldby::tools
