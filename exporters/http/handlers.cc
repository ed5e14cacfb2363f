#include "exporters/http/handlers.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "exporters/http/reply.h"
#include "exporters/http/table_page.h"
#include "exporters/pprof/text.h"
#include "heldby/cpu.h"
#include "heldby/leaks.h"
#include "heldby/trace.h"
#include "heldby/wall.h"
#include "profile/merge.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

constexpr std::int64_t kMaxSeconds = 300;
constexpr std::int64_t kDefaultCpuSeconds = 30;
constexpr double kDefaultTraceSeconds = 1;

// False: the client left first. The step bounds how long a departed client keeps a thread.
bool WaitFor(std::chrono::nanoseconds duration, const std::function<bool()>& cancelled) {
  constexpr std::chrono::milliseconds kStep(50);
  const auto end = std::chrono::steady_clock::now() + duration;
  for (auto now = std::chrono::steady_clock::now(); now < end;
       now = std::chrono::steady_clock::now()) {
    if (cancelled && cancelled()) return false;
    std::this_thread::sleep_until(
        std::min<std::chrono::steady_clock::time_point>(now + kStep, end));
  }
  return !(cancelled && cancelled());
}

Response Encoded(std::string_view filename, const Profile& profile) {
  auto bytes = EncodePprof(profile);
  if (!bytes) return ErrorReply(500, Concat("cannot encode: ", bytes.status().message()));
  return DownloadReply(filename, *std::move(bytes));
}

Response Delta(const ProfileEntry& entry, const TakeOptions& options, std::int64_t seconds,
               const std::function<bool()>& cancelled) {
  const auto before = entry.take(options);
  if (!before) return ErrorReply(500, "failed to collect profile");
  if (!WaitFor(std::chrono::seconds(seconds), cancelled)) {
    return ErrorReply(500, "context canceled");
  }
  const auto after = entry.take(options);
  if (!after) return ErrorReply(500, "failed to collect profile");
  auto delta = Diff(*after, *before);
  if (!delta) return ErrorReply(500, "failed to compute delta");
  delta->time_ns = after->time_ns;
  delta->duration_ns = std::max<std::int64_t>(after->time_ns - before->time_ns, 1);
  return Encoded(Concat(entry.name, "-delta"), *delta);
}

// since=10m: what nobody planned to compare with.
Response Since(const ProfileEntry& entry, const Query& query, std::string_view given) {
  absl::Duration ago;
  const bool is_number = !given.empty() && given.find_first_not_of("0123456789") == given.npos;
  const std::string text = is_number ? Concat(given, "s") : std::string(given);
  if (!absl::ParseDuration(text, &ago) || ago <= absl::ZeroDuration() ||
      ago > absl::Hours(24 * 366)) {
    return ErrorReply(400, Concat("since is ", Quoted(given),
                                  "; accepted: a time such as 90s, 10m, 1h or 48h"));
  }
  for (const char* other : {"seconds", "debug", "labels", "frames"}) {
    if (const auto value = query.Get(other); !value.empty() && value != "0") {
      return ErrorReply(400, Concat("since and ", other, " params are incompatible"));
    }
  }
  auto profile = ProfileSince(entry.name, absl::ToChronoNanoseconds(ago));
  if (profile) return Encoded(Concat(entry.name, "-since"), *profile);
  const bool is_unknown = profile.status().code() == StatusCode::kNotFound;
  return ErrorReply(is_unknown ? 400 : 503, profile.status().message());
}

// labels=connection,task,state,age or all.
Result<HolderLabels> ParseHolderLabels(std::string_view text) {
  HolderLabels labels;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
    if (word == "all") {
      labels = {.connection = true, .task = true, .state = true, .age = true};
    } else if (word == "connection") {
      labels.connection = true;
    } else if (word == "task") {
      labels.task = true;
    } else if (word == "state") {
      labels.state = true;
    } else if (word == "age") {
      labels.age = true;
    } else {
      return Status(StatusCode::kInvalidArgument,
                    Concat("labels has ", Quoted(word),
                           "; accepted: connection, task, state, age, or all"));
    }
  }
  return labels;
}

struct IndexRow {
  std::string name;
  std::string href;
  std::string description;
  std::size_t count = 0;
};

// Relative, so that it stays right below whatever prefix the endpoint is mounted at.
std::string HrefOf(std::string_view path) {
  constexpr std::string_view kHere = "/debug/pprof/";
  constexpr std::string_view kAbove = "/debug/";
  return path.starts_with(kHere) ? std::string(path.substr(kHere.size()))
                                 : Concat("../", path.substr(kAbove.size()));
}

std::vector<IndexRow> IndexRows(std::span<const ProfileEntry> profiles) {
  std::vector<IndexRow> rows = {
      {"cmdline", "cmdline", "The command line of this program, arguments separated by NUL."},
      {"symbol", "symbol", "Names of code addresses: GET symbol?0x1234+0x5678, or POST them."}};
  for (const TimedPage& page : TimedPages()) {
    rows.push_back({std::string(page.name), HrefOf(page.path), std::string(page.description)});
  }
  const auto add = [&rows](const ProfileEntry& entry) {
    rows.push_back(
        {entry.name, Concat(entry.name, "?debug=1"), entry.description, entry.count()});
  };
  std::ranges::for_each(profiles, add);
  for (const ProfileEntry& entry : profiles) {
    if (!HasDeltaSeries(entry.name)) continue;
    const std::string name = Concat(kDeltaPrefix, entry.name);
    rows.push_back({name, Concat(name, "?debug=1"),
                    Concat("What came to ", entry.name,
                           " since this was last fetched without debug, for scrapers."),
                    entry.count()});
  }
  std::ranges::for_each(CustomProfiles(), add);
  std::ranges::sort(rows, {}, &IndexRow::name);
  return rows;
}

}  // namespace

Response IndexPage(std::span<const ProfileEntry> profiles) {
  std::string html =
      "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n"
      "<title>/debug/pprof/</title>\n<style>td { padding: 0 1em 0 0 }</style>\n"
      "</head>\n<body>\n<h1>/debug/pprof/</h1>\n"
      "<p>Profiles of this process, served by heldby. Add <code>?debug=1</code> for text, "
      "<code>?seconds=N</code> for what changed in N seconds, or point the client here: "
      "<code>go tool pprof http://HOST:PORT/debug/pprof/heap</code>.</p>\n"
      "<table>\n<thead><tr><td>Count</td><td>Profile</td></tr></thead>\n";
  const std::vector<IndexRow> rows = IndexRows(profiles);
  // Tools in the field scrape the rows by exactly this shape.
  for (const IndexRow& row : rows) {
    absl::StrAppend(&html, "<tr><td>", row.count, "</td><td><a href='", HtmlEscaped(row.href),
                    "'>", HtmlEscaped(row.name), "</a></td></tr>\n");
  }
  absl::StrAppend(&html, "</table>\n<h2>Profiles</h2>\n<ul>\n");
  for (const IndexRow& row : rows) {
    absl::StrAppend(&html, "<li><b>", HtmlEscaped(row.name),
                    "</b>: ", HtmlEscaped(row.description), "</li>\n");
  }
  absl::StrAppend(&html,
                  "</ul>\n<p><a href='goroutine?debug=2'>full goroutine stack dump</a></p>\n"
                  "<p>What leaks: <a href='../leaks'>leaks</a>. What has changed: heap since "
                  "<a href='heap?since=10m'>10 min</a>, <a href='heap?since=1h'>1 h</a>, "
                  "<a href='heap?since=24h'>1 d</a> ago, goroutine since "
                  "<a href='goroutine?since=1h'>1 h</a>, connections since "
                  "<a href='connections?since=1h'>1 h</a> ago.</p>\n"
                  "<p>Who holds it: <a href='../connections'>connections</a>, "
                  "<a href='../tasks'>tasks</a>. Figures for Prometheus: "
                  "<a href='../../metrics'>metrics</a>.</p>\n</body>\n</html>\n");
  return HtmlReply(std::move(html));
}

Response NamedProfile(const ProfileEntry& entry, const Query& query,
                      const std::function<bool()>& cancelled) {
  const std::int64_t debug = ParseInteger(query.Get("debug")).value_or(0);
  const auto labels = ParseHolderLabels(query.Get("labels"));
  if (!labels) return ErrorReply(400, labels.status().message());
  const bool is_full = debug >= 2 && entry.full_text;
  const auto& text = is_full ? entry.full_text : entry.text;
  const TakeOptions options = {
      .all_frames = query.Get("frames") == "all", .labels = *labels, .each = is_full};
  if (const std::string_view given = query.Get("since"); !given.empty()) {
    return Since(entry, query, given);
  }
  if (const std::string_view given = query.Get("seconds"); !given.empty()) {
    const auto seconds = ParseInteger(given);
    if (!seconds || *seconds <= 0) {
      return ErrorReply(400, "invalid value for \"seconds\" - must be a positive integer");
    }
    if (!entry.supports_delta) {
      return ErrorReply(400, "\"seconds\" parameter is not supported for this profile type");
    }
    if (debug != 0) return ErrorReply(400, "seconds and debug params are incompatible");
    return Delta(entry, options, std::min(*seconds, kMaxSeconds), cancelled);
  }
  const auto profile = entry.take(options);
  if (!profile) {
    return ErrorReply(500, Concat("failed to collect profile: ", profile.status().message()));
  }
  if (debug != 0) {
    auto written = text(*profile);
    if (!written) {
      return ErrorReply(500, Concat("cannot write as text: ", written.status().message()));
    }
    return TextReply(*std::move(written));
  }
  return Encoded(entry.name, *profile);
}

Response DeltaProfile(const ProfileEntry& entry, DeltaSeries* series, const Request& request,
                      const Query& query) {
  const bool is_text = ParseInteger(query.Get("debug")).value_or(0) != 0;
  const auto take = [&entry] { return entry.take({.all_frames = true}); };
  const auto write = [&](const Profile& delta) -> Result<std::string> {
    if (request.cancelled && request.cancelled()) {
      return Status(StatusCode::kUnavailable, "context canceled");
    }
    return is_text ? entry.text(delta) : EncodePprof(delta);
  };
  // A look must not take from the scraper what it comes for.
  const bool is_look = is_text || request.method == "HEAD";
  auto body = is_look ? series->Peek(take, write) : series->Next(take, write);
  if (!body) {
    return ErrorReply(500, Concat("failed to collect profile: ", body.status().message()));
  }
  return is_text ? TextReply(*std::move(body))
                 : DownloadReply(Concat(kDeltaPrefix, entry.name), *std::move(body));
}

Response SetRate(const ProfileEntry& entry, const Query& query) {
  const ProfileRate& rate = *entry.rate;
  const std::string_view given = query.Get(rate.parameter);
  const auto value = ParseInteger(given);
  if (!value || *value < 0 || *value > rate.most) {
    return ErrorReply(400,
                      Concat("\"", rate.parameter, "\" is ", Quoted(given),
                             "; accepted: a whole number, ", rate.meaning, ", to ", rate.most));
  }
  const std::int64_t before = rate.set(*value);
  return TextReply(Concat("before: ", before, "\nnow: ", *value, "\n"));
}

namespace {

Response CpuProfile(const Query& query, const std::function<bool()>& cancelled) {
  const std::int64_t seconds = ParseInteger(query.Get("seconds")).value_or(0);
  const std::string_view rate = query.Get("hz");
  const std::int64_t hz = rate.empty() ? 100 : ParseInteger(rate).value_or(0);
  if (hz < kMinCpuHz || hz > kMaxCpuHz) {
    return ErrorReply(400, Concat("hz is ", Quoted(rate), "; accepted: 1 to 1000"));
  }
  const auto labels = ParseHolderLabels(query.Get("labels"));
  if (!labels) return ErrorReply(400, labels.status().message());
  const std::chrono::seconds duration(seconds <= 0 ? kDefaultCpuSeconds
                                                   : std::min(seconds, kMaxSeconds));
  const auto start = std::chrono::steady_clock::now();
  auto profile = ProfileCpu({.duration = duration,
                             .hz = static_cast<int>(hz),
                             .labels = *labels,
                             .cancelled = cancelled});
  if (profile) return Encoded("profile", *profile);
  if (profile.status().code() != StatusCode::kUnavailable) {
    return ErrorReply(500,
                      Concat("Could not enable CPU profiling: ", profile.status().message()));
  }
  // Not an error for ever: scrapers mark a target as down on anything but 200. And they wait
  // for it as they would for samples: one that asks again at once is no busy loop.
  WaitFor(duration, cancelled);
  Profile empty = EmptyCpuProfile(profile.status().message());
  empty.duration_ns = std::max<std::int64_t>(
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count(), 1);
  return Encoded("profile", empty);
}

Response WallProfile(const Query& query, const std::function<bool()>& cancelled) {
  std::int64_t seconds = kDefaultCpuSeconds;
  if (const std::string_view given = query.Get("seconds"); !given.empty()) {
    seconds = ParseInteger(given).value_or(0);
    if (seconds <= 0) {
      return ErrorReply(400,
                        Concat("seconds is ", Quoted(given), "; accepted: a positive integer"));
    }
  }
  const std::string_view format = query.Get("format");
  if (!format.empty() && format != "pprof" && format != "folded") {
    return ErrorReply(400, Concat("format is ", Quoted(format), "; accepted: pprof or folded"));
  }
  const auto profile =
      ProfileWall({.duration = std::chrono::seconds(std::min(seconds, kMaxSeconds)),
                   .cancelled = cancelled});
  if (!profile) return ErrorReply(500, profile.status().message());
  if (format == "folded") return TextReply(FoldedText(*profile));
  return Encoded("fgprof", *profile);
}

Response ExecutionTrace(const Query& query, const std::function<bool()>& cancelled) {
  double seconds = 0;
  const bool is_number = absl::SimpleAtod(AsPiece(query.Get("seconds")), &seconds);
  // Written so that a NaN is not above 0 either.
  if (!is_number || !(seconds > 0)) seconds = kDefaultTraceSeconds;
  seconds = std::clamp(seconds, 1e-3, static_cast<double>(kMaxSeconds));
  const auto trace = RecordTrace(
      {.duration_ns = static_cast<std::int64_t>(seconds * 1e9), .cancelled = cancelled});
  if (!trace) {
    return ErrorReply(500, Concat("Could not enable tracing: ", trace.status().message()));
  }
  auto bytes = EncodeTrace(*trace);
  if (!bytes) return ErrorReply(500, Concat("cannot encode: ", bytes.status().message()));
  return DownloadReply("trace", *std::move(bytes));
}

constexpr TimedPage kTimedPages[] = {
    {"/debug/fgprof", "fgprof",
     "Where all time goes, running or waiting: wall clock profile; seconds=N, format=folded.",
     &WallProfile},
    {"/debug/pprof/profile", "profile",
     "Where processor time goes: CPU profile; seconds=N sets its length, hz=N its rate.",
     &CpuProfile},
    {"/debug/pprof/trace", "trace",
     "What happened to tasks, connections and threads in seconds=N: a file for "
     "ui.perfetto.dev or chrome://tracing, not for go tool trace.",
     &ExecutionTrace}};

}  // namespace

std::span<const TimedPage> TimedPages() { return kTimedPages; }

Response CommandLine() {
  std::ifstream file("/proc/thread-self/cmdline", std::ios::binary);
  std::string arguments{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (arguments.ends_with('\0')) arguments.pop_back();
  return TextReply(std::move(arguments));
}

}  // namespace heldby::http
