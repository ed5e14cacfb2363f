// heldby top, diff, text: what `go tool pprof` would print, for machines without Go.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "exporters/pprof/read.h"
#include "exporters/report/combine.h"
#include "exporters/report/report.h"
#include "tools/commands.h"
#include "tools/download.h"
#include "tools/dump.h"
#include "tools/files.h"

namespace heldby::tools {
namespace {

using report::BaseKind;
using report::Granularity;

constexpr char kUsage[] =
    "usage: heldby top  [options] FILE|TARGET ...\n"
    "       heldby diff [options] OLD NEW         = top -base OLD NEW\n"
    "       heldby text [options] FILE|TARGET ... every stack, as go tool pprof -traces\n"
    "  -nodecount N, -nodefraction X, -edgefraction X, -cum, -unit U, -sample_index NAME|N\n"
    "  -inuse_space, -inuse_objects, -alloc_space, -alloc_objects, -contentions, -total_delay\n"
    "  -base SOURCE, -diff_base SOURCE, -normalize, -drop_negative\n"
    "  -focus, -ignore, -hide, -show PATTERN; -tagfocus, -tagignore KEY=PATTERN|RANGE\n"
    "  -tagroot KEY,KEY; -functions, -filefunctions, -files, -lines, -addresses, -noinlines\n"
    "  -seconds N, -timeout N, -token-file FILE, -progress for a TARGET\n";

struct Command {
  const char* name;
  bool is_diff = false;
  bool is_traces = false;
};

struct Settings {
  report::Options report{};
  DownloadOptions download{};
  std::vector<std::string> bases{};
  std::vector<std::string> diff_bases{};
  bool normalize = false;
  bool is_comparing = false;  // -diff_base of `diff`, which names no file
  bool is_help = false;
  std::string tag_roots{};
};

int Fail(const Command& command, int status, const std::string& message) {
  std::fprintf(stderr, "heldby %s: %s\n", command.name, message.c_str());
  return status;
}

void AddFlags(const Command& command, Settings* settings, Flags* flags) {
  report::Options& report = settings->report;
  flags->Count("nodecount", &report.node_count);
  flags->Fraction("nodefraction", &report.node_fraction);
  flags->Fraction("edgefraction", &report.edge_fraction);
  flags->Switch("cum", &report.sort_by_cum);
  flags->Action("flat", [&report] { report.sort_by_cum = false; });
  flags->Text("unit", &report.unit);
  flags->Text("sample_index", &report.sample_index);
  for (const char* column :
       {"inuse_space", "inuse_objects", "alloc_space", "alloc_objects", "contentions"}) {
    flags->Action(column, [&report, column] { report.sample_index = column; });
  }
  flags->Action("total_delay", [&report] { report.sample_index = "delay"; });
  flags->Switch("drop_negative", &report.drop_negative);
  flags->Switch("noinlines", &report.no_inlines);
  flags->Text("focus", &report.filters.focus);
  flags->Text("ignore", &report.filters.ignore);
  flags->Text("hide", &report.filters.hide);
  flags->Text("show", &report.filters.show);
  flags->Text("tagfocus", &report.filters.tagfocus);
  flags->Text("tagignore", &report.filters.tagignore);
  flags->Text("tagroot", &settings->tag_roots);
  for (const auto& [name, by] :
       {std::pair{"functions", Granularity::kFunctions},
        std::pair{"filefunctions", Granularity::kFileFunctions},
        std::pair{"files", Granularity::kFiles}, std::pair{"lines", Granularity::kLines},
        std::pair{"addresses", Granularity::kAddresses}}) {
    flags->Action(name, [&report, by = by] { report.granularity = by; });
  }
  if (command.is_diff) {
    flags->Switch("diff_base", &settings->is_comparing);
  } else {
    flags->Many("base", &settings->bases);
    flags->Many("diff_base", &settings->diff_bases);
  }
  flags->Switch("normalize", &settings->normalize);
  AddDownloadFlags(&settings->download, flags);
  flags->Switch("help", &settings->is_help);
}

// A file if there is one of that name, as `go tool pprof` decides.
Result<Profile> Read(const std::string& source, const Command& command,
                     const DownloadOptions& options) {
  struct stat info {};
  const bool is_file = source == "-" || stat(source.c_str(), &info) == 0;
  std::string bytes;
  if (is_file) {
    auto content = ReadAll(source, kMaxProfileBytes);
    if (!content) return content.status();
    bytes = *std::move(content);
  } else {
    auto download = Fetch(source, "", options, absl::StrCat("heldby ", command.name));
    if (!download) return download.status();
    bytes = std::move(download->body);
  }
  auto named = WithNames(std::move(bytes));
  auto profile = named ? report::ReadForReport(*named) : Result<Profile>(named.status());
  if (profile) return profile;
  return Status(profile.status().code(),
                absl::StrCat(source, ": ", profile.status().message()));
}

Status ReadInto(const std::vector<std::string>& names, const Command& command,
                const DownloadOptions& options, std::vector<Profile>* profiles) {
  for (const std::string& name : names) {
    auto profile = Read(name, command, options);
    if (!profile) return profile.status();
    profiles->push_back(*std::move(profile));
  }
  return Status();
}

// Says what is wrong with the words, if anything is.
std::string Objection(const Command& command, const Settings& settings,
                      std::size_t source_count) {
  if (command.is_diff && source_count != 2) return "needs two sources, OLD and NEW";
  if (source_count == 0) return "needs a FILE or a TARGET";
  if (!settings.bases.empty() && !settings.diff_bases.empty()) {
    return "-base and -diff_base cannot both be given";
  }
  const bool has_base =
      command.is_diff || !settings.bases.empty() || !settings.diff_bases.empty();
  if (settings.normalize && !has_base) return "-normalize needs -base or -diff_base";
  return {};
}

int Print(const Command& command, Settings settings, std::vector<std::string> names) {
  report::Sources sources;
  sources.normalize = settings.normalize;
  std::vector<std::string>& bases =
      settings.diff_bases.empty() ? settings.bases : settings.diff_bases;
  if (!settings.diff_bases.empty() || settings.is_comparing) sources.kind = BaseKind::kCompare;
  if (command.is_diff) {
    bases.push_back(names[0]);
    names.erase(names.begin());
  }
  for (const auto& [from, to] :
       {std::pair{&names, &sources.profiles}, std::pair{&bases, &sources.bases}}) {
    if (Status status = ReadInto(*from, command, settings.download, to); !status.ok()) {
      return Fail(command, 1, status.message());
    }
  }
  auto profile = report::Combine(sources);
  if (!profile) return Fail(command, 1, profile.status().message());
  const auto report = command.is_traces ? Traces(*std::move(profile), settings.report)
                                        : Top(*std::move(profile), settings.report);
  if (!report) return Fail(command, 1, report.status().message());
  for (const std::string& warning : report->warnings) Fail(command, 0, warning);
  const Status status = WriteAll(STDOUT_FILENO, report->text, "standard output");
  return status.ok() ? 0 : Fail(command, 1, status.message());
}

int Run(const Command& command, const Arguments& arguments) try {
  Settings settings;
  Flags flags;
  AddFlags(command, &settings, &flags);
  auto names = flags.Parse(arguments);
  if (!names) return Fail(command, 2, names.status().message());
  if (settings.is_help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const std::string objection = Objection(command, settings, names->size());
  if (!objection.empty()) return Fail(command, 2, absl::StrCat(objection, "\n", kUsage));
  settings.report.tag_roots = absl::StrSplit(settings.tag_roots, ',', absl::SkipEmpty());
  return Print(command, std::move(settings), *std::move(names));
} catch (const std::exception& error) {
  return Fail(command, 1, error.what());
}

}  // namespace

int TopMain(const Arguments& arguments) { return Run({.name = "top"}, arguments); }

int DiffMain(const Arguments& arguments) {
  return Run({.name = "diff", .is_diff = true}, arguments);
}

int TextMain(const Arguments& arguments) {
  return Run({.name = "text", .is_traces = true}, arguments);
}

}  // namespace heldby::tools
