#include "tools/convert.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>

#include "exporters/pprof/convert.h"
#include "heldby/status.h"
#include "tools/dump.h"
#include "tools/files.h"

namespace heldby {
namespace {

constexpr char kUsage[] =
    "usage: heldby convert IN OUT\n"
    "       heldby convert -summary IN\n"
    "  Converts a profile to gzip-compressed profile.proto, for `go tool pprof`.\n"
    "  IN   a heap, growth, CPU or contention profile of gperftools, a ?debug=1 text of Go,\n"
    "       or profile.proto; plain or in gzip. - is standard input.\n"
    "       Also a dump or a black box of HELDBY_DUMP_DIR, which gets its names from the\n"
    "       files on this machine. At most 256 MiB.\n"
    "  OUT  a file, replaced only when all went well; it keeps its mode, a new one gets what\n"
    "       the umask leaves of 0666. - is standard output.\n"
    "  -summary  prints what a dump says for people; of a black box, the latest.\n";

Status Of(const std::string& in, const Status& status) {
  return Status(status.code(), in + ": " + status.message());
}

Status PrintSummary(const std::string& in) {
  const Result<std::string> input = tools::ReadAll(in, kMaxProfileBytes);
  if (!input.ok()) return input.status();
  const Result<std::string> summary = tools::SummaryOf(*input);
  if (!summary.ok()) return Of(in, summary.status());
  return tools::WriteAll(STDOUT_FILENO, *summary, "standard output");
}

Status Convert(const std::string& in, const std::string& out) {
  const Result<std::string> input = tools::ReadAll(in, kMaxProfileBytes);
  if (!input.ok()) return input.status();
  const Result<std::string> named = tools::WithNames(*input);
  if (!named.ok()) return Of(in, named.status());
  const Result<std::string> output = ConvertToPprof(*named);
  if (!output.ok()) return Of(in, output.status());
  if (out == "-") return tools::WriteAll(STDOUT_FILENO, *output, "standard output");
  return tools::WriteFile(out, *output);
}

}  // namespace

int ConvertMain(int argc, char** argv) try {
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const bool summary = argc > 1 && std::strcmp(argv[1], "-summary") == 0;
  for (int i = summary ? 2 : 1; i < argc; ++i) {
    if (argv[i][0] == '-' && argv[i][1] != '\0') {
      std::fprintf(stderr, "heldby convert: unknown option %s\n%s", argv[i], kUsage);
      return 2;
    }
  }
  if (argc != 3 || argv[1][0] == '\0' || argv[2][0] == '\0') {
    std::fprintf(stderr, "heldby convert: needs two arguments, IN and OUT\n%s", kUsage);
    return 2;
  }
  const Status status = summary ? PrintSummary(argv[2]) : Convert(argv[1], argv[2]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "heldby convert: %s\n", status.message().c_str());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "heldby convert: %s\n", error.what());
  return 1;
}

}  // namespace heldby
