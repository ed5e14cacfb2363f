#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/commands.h"
#include "tools/download.h"
#include "tools/files.h"
#include "tools/flags.h"
#include "tools/source.h"

namespace heldby::tools {
namespace {

constexpr char kUsage[] =
    "usage: heldby leaks [-json] [-timeout N] [-token-file FILE] TARGET\n";
constexpr int kLeaksStatus = 3;

int Fail(int status, const std::string& message) {
  std::fprintf(stderr, "heldby leaks: %s\n", message.c_str());
  return status;
}

// Wherever below its server the endpoint is mounted.
bool PointToLeaks(bool json, Source* source) {
  const auto at = source->target.find("/debug/pprof/");
  if (at == source->target.npos) return false;
  source->target.resize(at);
  absl::StrAppend(&source->target, "/debug/leaks?format=", json ? "json" : "text");
  return true;
}

// "heldby: 2 leaks, ...", or "leaks": 2 in JSON. False: it is not what we know.
bool CountLeaks(const std::string& body, bool json, int* leaks) {
  const std::string before = json ? "\"leaks\": " : "heldby: ";
  const auto at = body.substr(0, 200).find(before);
  if (at == body.npos) return false;
  const auto begin = at + before.size();
  const auto end = body.find_first_not_of("0123456789", begin);
  return absl::SimpleAtoi(body.substr(begin, end - begin), leaks);
}

}  // namespace

int LeaksMain(const Arguments& arguments) try {
  DownloadOptions options;
  bool is_json = false;
  bool is_help = false;
  Flags flags;
  flags.Switch("json", &is_json);
  flags.Switch("help", &is_help);
  flags.Count("timeout", &options.timeout);
  flags.Text("token-file", &options.token_file);
  const auto words = flags.Parse(arguments);
  if (!words) return Fail(2, words.status().message());
  if (is_help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (words->size() != 1) return Fail(2, absl::StrCat("needs one TARGET\n", kUsage));
  auto source = ParseSource((*words)[0], "heap");
  if (!source) {
    const bool is_usage = source.status().code() == StatusCode::kInvalidArgument;
    return Fail(is_usage ? 2 : 1, source.status().message());
  }
  if (!PointToLeaks(is_json, &*source)) {
    return Fail(
        2, absl::StrCat("TARGET is \"", (*words)[0],
                        "\"; accepted: host:port, a process id, unix:/path, or a URL below "
                        "which /debug/pprof/ is"));
  }
  const auto download = FetchFrom(*source, options, "heldby leaks");
  if (!download) return Fail(1, download.status().message());
  const Status written = WriteAll(STDOUT_FILENO, download->body, "standard output");
  if (!written.ok()) return Fail(1, written.message());
  int leaks = 0;
  if (!CountLeaks(download->body, is_json, &leaks)) {
    return Fail(1, absl::StrCat(UrlOf(download->source), " answers with something else"));
  }
  return leaks > 0 ? kLeaksStatus : 0;
} catch (const std::exception& error) {
  return Fail(1, error.what());
}

}  // namespace heldby::tools
