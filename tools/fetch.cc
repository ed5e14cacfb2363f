// heldby fetch: a profile into a file, for machines without Go.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "exporters/pprof/gzip.h"
#include "exporters/pprof/read.h"
#include "tools/commands.h"
#include "tools/download.h"
#include "tools/files.h"

namespace heldby::tools {
namespace {

constexpr char kUsage[] =
    "usage: heldby fetch [-o FILE] [-seconds N] [-timeout N] [-token-file FILE] [-progress]\n"
    "                    TARGET [PROFILE]\n";

int Fail(int status, const std::string& message) {
  std::fprintf(stderr, "heldby fetch: %s\n", message.c_str());
  return status;
}

// A file name that stays in this folder and can be typed.
std::string Plain(std::string name) {
  for (char& c : name) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    if (!is_plain) c = '_';
  }
  return name.substr(0, 100);
}

struct FileName {
  std::string prefix;
  std::string suffix;
};

// As pprof names what it saves; what is no profile is named after where it came from.
FileName NameFor(const Download& download) {
  const Source& source = download.source;
  std::string owner = source.socket.empty() ? source.host : "unix";
  const auto profile = ReadProfile(download.body);
  if (!profile) {
    const bool is_text = absl::StartsWith(download.content_type, "text/");
    std::string suffix = is_text ? ".txt" : ".bin";
    if (!is_text && IsGzip(download.body)) suffix = ".gz";
    return {absl::StrCat("pprof.", Plain(owner), ".", Plain(ProfileNameOf(source)), "."),
            suffix};
  }
  if (!profile->mappings.empty()) {
    const std::string& file = profile->mappings[0].filename;
    const std::string base = file.substr(file.rfind('/') + 1);
    if (!base.empty() && base[0] != '[') owner = base;
  }
  std::string prefix = absl::StrCat("pprof.", Plain(owner), ".");
  for (const ValueType& type : profile->sample_types) {
    absl::StrAppend(&prefix, Plain(type.type), ".");
  }
  const bool is_text = absl::StartsWith(download.content_type, "text/");
  return {prefix.substr(0, 200), is_text ? ".txt" : ".pb.gz"};
}

int Save(const Download& download, const std::string& out) {
  if (out == "-") {
    const Status status = WriteAll(STDOUT_FILENO, download.body, "standard output");
    return status.ok() ? 0 : Fail(1, status.message());
  }
  if (!out.empty()) {
    const Status status = WriteFile(out, download.body);
    return status.ok() ? 0 : Fail(1, status.message());
  }
  const FileName name = NameFor(download);
  const auto saved = WriteNewFile(name.prefix, name.suffix, download.body);
  if (!saved) return Fail(1, saved.status().message());
  std::fprintf(stderr, "Saved profile in %s\n", saved->c_str());
  return 0;
}

}  // namespace

int FetchMain(const Arguments& arguments) try {
  DownloadOptions options;
  std::string out;
  bool is_help = false;
  Flags flags;
  flags.Text("o", &out);
  AddDownloadFlags(&options, &flags);
  flags.Switch("help", &is_help);
  const auto words = flags.Parse(arguments);
  if (!words) return Fail(2, words.status().message());
  if (is_help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (words->empty() || words->size() > 2) {
    return Fail(2, absl::StrCat("needs TARGET and perhaps PROFILE\n", kUsage));
  }
  if (out == "-" && isatty(STDOUT_FILENO) != 0) {
    return Fail(2, "a profile is no text for a terminal: redirect standard output, or -o FILE");
  }
  const auto download =
      Fetch((*words)[0], words->size() == 2 ? (*words)[1] : "", options, "heldby fetch");
  if (!download) {
    const bool is_usage = download.status().code() == StatusCode::kInvalidArgument;
    return Fail(is_usage ? 2 : 1, download.status().message());
  }
  return Save(*download, out);
} catch (const std::exception& error) {
  return Fail(1, error.what());
}

}  // namespace heldby::tools
