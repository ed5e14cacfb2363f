#include "heldby/leaks.h"

#include <algorithm>
#include <exception>
#include <string_view>
#include <tuple>

#include "collect/cgroup.h"
#include "collect/finding.h"
#include "collect/process_account.h"
#include "collect/stack_locations.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/builder.h"
#include "profile/glob.h"
#include "profile/simplify.h"
#include "profile/trim.h"
#include "runtime/core_access.h"
#include "runtime/leak_watch.h"
#include "watch/verdict_text.h"

namespace heldby {
namespace {

constexpr std::size_t kFramesInSummary = 3;
constexpr std::size_t kMostVerdicts = 100;

// How much may still be allocated before the tightest limit; -1: there is none.
std::int64_t RoomBytes() {
  std::int64_t room = -1;
  const auto cgroup = collect::ReadCgroupMemory(collect::FindCgroupDirs("/proc/thread-self"));
  if (cgroup.is_limited) {
    room = std::max<std::int64_t>(cgroup.limit_bytes - cgroup.used_bytes, 0);
  }
  const collect::ProcessAccount process = collect::ReadProcess();
  if (process.max_virtual_bytes > 0) {
    const std::int64_t left =
        std::max<std::int64_t>(process.max_virtual_bytes - process.virtual_bytes, 0);
    room = room < 0 ? left : std::min(room, left);
  }
  return room;
}

// All stacks of all findings as one profile, whose samples carry their place: so names cost one
// pass over the symbol tables.
class StackNamer {
 public:
  explicit StackNamer(const core::CoreApi& core)
      : builder_(std::vector<ValueType>{{"stacks", "count"}}), locations_(core, &builder_) {}

  void Add(std::int64_t place, const collect::PendingStack& pending) {
    std::vector<LocationId> stack;
    if (pending.stack.depth > 0) stack = locations_.Of(pending.stack);
    for (const std::uint64_t call : pending.calls) {
      stack.push_back(builder_.AddLocation(MappingId::kNone, call));
    }
    if (stack.empty()) return;
    const std::int64_t one[] = {1};
    builder_.AddSample(std::move(stack), one,
                       {{.key = "place", .number = place, .number_unit = "place"}});
  }

  // place -> frames
  std::vector<std::vector<std::string>> Name(std::size_t places, bool with_names) && {
    std::vector<std::vector<std::string>> named(places);
    if (!with_names) return named;
    Profile profile = std::move(builder_).Build();
    SymbolizeProfile(&profile);
    TrimAllocationFrames(&profile);
    for (const Sample& sample : profile.samples) {
      auto& frames = named[static_cast<std::size_t>(sample.labels[0].number)];
      for (const LocationId id : sample.stack) {
        AddFrames(profile, profile.locations[static_cast<std::size_t>(id) - 1], &frames);
      }
    }
    return named;
  }

 private:
  static void AddFrames(const Profile& profile, const Location& location,
                        std::vector<std::string>* frames) {
    for (const Line& line : location.lines) {
      const Function& function = profile.functions[static_cast<std::size_t>(line.function) - 1];
      std::string text = SimplifyFunctionName(function.name);
      if (text.empty()) text = function.name;
      if (!function.filename.empty()) {
        const std::string_view file = function.filename;
        text += " " + std::string(file.substr(file.rfind('/') + 1));
        if (line.line > 0) text += ":" + std::to_string(line.line);
      }
      frames->push_back(std::move(text));
    }
  }

  ProfileBuilder builder_;
  collect::StackLocations locations_;
};

bool IsOfNoUse(std::string_view frame) {
  return frame.starts_with("std::") || frame.starts_with("__") ||
         frame.starts_with("[heldby") || frame.starts_with("heldby::asio::") ||
         frame.find(" /usr/include/c++/") != frame.npos;  // a task made by a container
}

std::string WithoutNoise(std::string frame) {
  static constexpr std::string_view kNoise = "(anonymous namespace)::";
  for (auto at = frame.find(kNoise); at != frame.npos; at = frame.find(kNoise)) {
    frame.erase(at, kNoise.size());
  }
  return frame;
}

// "allocated at ReadFile server.cc:12 < Serve server.cc:40": the line that one looks for.
std::string Where(const LeakStack& stack) {
  std::string text;
  std::size_t shown = 0;
  for (const std::string& frame : stack.frames) {
    if (IsOfNoUse(frame)) continue;
    text += (text.empty() ? "" : " < ") + WithoutNoise(frame);
    if (++shown == kFramesInSummary) break;
  }
  return text.empty() ? text : stack.role + " " + text;
}

bool Matches(const runtime::ExpectedLeak& expected, const LeakVerdict& verdict,
             const std::vector<std::string>& names) {
  const auto matches = [&expected](std::string_view text) {
    return MatchesGlob(expected.pattern, text);
  };
  for (const LeakStack& stack : verdict.stacks) {
    for (const std::string& frame : stack.frames) {
      // With its file, and without.
      if (matches(frame) || matches(std::string_view(frame).substr(0, frame.rfind(' ')))) {
        return true;
      }
    }
  }
  return std::ranges::any_of(names, matches) || matches(verdict.summary);
}

// What is seen now needs no statistics, and says whose fault it is: first among equals.
bool IsSeenNow(LeakKind kind) {
  return kind == LeakKind::kStuckReaders || kind == LeakKind::kUnreadResponses ||
         kind == LeakKind::kUnclosedConnections || kind == LeakKind::kLostWakeups;
}

bool IsWorse(const LeakVerdict& a, const LeakVerdict& b) {
  const auto key = [](const LeakVerdict& verdict) {
    return std::tuple(!verdict.expected.empty(), verdict.leak_class, !IsSeenNow(verdict.kind),
                      -verdict.bytes, -verdict.count, verdict.kind);
  };
  return key(a) < key(b);
}

// Before their stacks are named: of a program that calls each connection's route differently
// there are as many findings as connections. How many were left out.
std::size_t KeepTheWorst(std::vector<collect::Finding>* findings) {
  if (findings->size() <= kMostVerdicts) return 0;
  std::ranges::stable_sort(*findings, &IsWorse, &collect::Finding::verdict);
  const std::size_t left_out = findings->size() - kMostVerdicts;
  findings->resize(kMostVerdicts);
  return left_out;
}

// For a dump before the memory limit: the summaries.
std::string TextOf(const LeakReport& report) {
  std::string text = std::to_string(report.leaks()) + " leaks\n";
  for (const LeakVerdict& verdict : report.verdicts) {
    text += std::string(LeakClassName(verdict.leak_class)) + ": " + verdict.summary + "\n";
  }
  return text;
}

std::string ProcessText() {
  const collect::ProcessAccount process = collect::ReadProcess();
  // Without a free descriptor /proc cannot be read.
  if (process.resident_bytes == 0) return "resident memory not known";
  return "resident " + collect::BytesText(process.resident_bytes) + ", of which anonymous " +
         collect::BytesText(process.resident_anonymous_bytes);
}

std::vector<LeakVerdict> NameAll(const core::CoreApi& core,
                                 std::vector<collect::Finding> findings, bool with_names) {
  StackNamer namer(core);
  std::size_t places = 0;
  for (const collect::Finding& finding : findings) {
    for (const collect::PendingStack& stack : finding.stacks) {
      namer.Add(static_cast<std::int64_t>(places++), stack);
    }
  }
  auto named = std::move(namer).Name(places, with_names);
  const std::int64_t room = RoomBytes();
  std::vector<LeakVerdict> verdicts;
  std::size_t place = 0;
  for (collect::Finding& finding : findings) {
    LeakVerdict& verdict = finding.verdict;
    for (collect::PendingStack& stack : finding.stacks) {
      auto& frames = stack.places.empty() ? named[place] : stack.places;
      ++place;
      if (!frames.empty()) verdict.stacks.push_back({stack.role, std::move(frames)});
    }
    for (const LeakStack& stack : verdict.stacks) {
      const std::string where = Where(stack);
      if (where.empty()) continue;
      verdict.summary += "; " + where;
      break;
    }
    const bool is_bytes = verdict.kind == LeakKind::kGrowingSite;
    if (is_bytes && room >= 0 && verdict.slope_per_hour > 0) {
      verdict.limit_in_s = static_cast<std::int64_t>(
          std::min(static_cast<double>(room) / verdict.slope_per_hour * 3600, 1e9));
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace

namespace runtime {

Judgement Judge(const core::CoreApi& core, const WatchState* state) {
  Judgement judgement;
  const collect::Evidence evidence = collect::Gather(core);
  collect::AddConnectionFindings(evidence, &judgement.findings);
  collect::AddWaitFindings(core, &judgement.findings);
  LeakReport& report = judgement.report;
  report.process =
      "heap live " + collect::BytesText(evidence.live_bytes) + ", " + ProcessText();
  std::size_t left_out = 0;
  if (state != nullptr) {
    collect::AddCountFindings(evidence, state->past, &judgement.findings);
    left_out += collect::AddSiteFindings(evidence, state->past, &judgement.findings);
  }
  left_out += KeepTheWorst(&judgement.findings);
  report.left_out = static_cast<std::int64_t>(left_out);
  if (state == nullptr) return judgement;
  judgement.expected = state->expected;
  report.window_s = state->past.window_ns() / 1'000'000'000;
  if (state->past.began_ns() != 0) {
    report.watched_s =
        std::max<std::int64_t>((evidence.now_ns - state->past.began_ns()) / 1'000'000'000, 1);
  }
  const auto as_signed = [](auto value) { return static_cast<std::int64_t>(value); };
  judgement.summary = {
      .is_known = true,
      .judged_ns = evidence.now_ns,
      .history_bytes = as_signed(state->past.used_bytes() + state->goroutines.used_bytes() +
                                 state->connections.used_bytes()),
      .snapshots = as_signed(state->past.heap().times_ns().size()),
      .thinned_total =
          as_signed(state->past.thinned_total() + state->goroutines.thinned_total() +
                    state->connections.thinned_total()),
      .dropped_kinds_total = as_signed(state->past.connections().dropped_total() +
                                       state->past.tasks().dropped_total()),
      .left_out = report.left_out};
  return judgement;
}

LeakReport Finish(const core::CoreApi& core, Judgement judgement, bool with_names) {
  LeakReport report = std::move(judgement.report);
  std::vector<std::vector<std::string>> names;
  for (collect::Finding& finding : judgement.findings)
    names.push_back(std::move(finding.names));
  report.verdicts = NameAll(core, std::move(judgement.findings), with_names);
  WatchSummary& summary = judgement.summary;
  for (std::size_t i = 0; i < report.verdicts.size(); ++i) {
    LeakVerdict& verdict = report.verdicts[i];
    for (const ExpectedLeak& expected : judgement.expected) {
      if (Matches(expected, verdict, names[i])) verdict.expected = expected.reason;
    }
    if (!verdict.expected.empty()) continue;
    auto& [count, bytes] = summary.found[{verdict.kind, verdict.leak_class}];
    ++count;
    bytes += verdict.bytes;
  }
  std::ranges::stable_sort(report.verdicts, &IsWorse);
  if (with_names) watch::SetVerdictText(TextOf(report));
  if (summary.is_known) {
    WatchHolder& holder = HolderHere();
    const std::lock_guard lock(holder.summary_mutex);
    holder.summary = std::move(summary);
  }
  return report;
}

}  // namespace runtime

const char* LeakKindName(LeakKind kind) {
  switch (kind) {
    case LeakKind::kStuckReaders:
      return "stuck_readers";
    case LeakKind::kUnreadResponses:
      return "unread_responses";
    case LeakKind::kUnclosedConnections:
      return "unclosed_connections";
    case LeakKind::kGrowingConnections:
      return "growing_connections";
    case LeakKind::kPilingTasks:
      return "piling_tasks";
    case LeakKind::kLostWakeups:
      return "lost_wakeups";
    case LeakKind::kOutlivedHolders:
      return "outlived_holders";
    case LeakKind::kGrowingSite:
      return "growing_site";
  }
  return "";
}

const char* LeakClassName(LeakClass leak_class) {
  switch (leak_class) {
    case LeakClass::kLeak:
      return "leak";
    case LeakClass::kSuspect:
      return "suspect";
    case LeakClass::kGrowthWithLoad:
      return "growth_with_load";
    case LeakClass::kWarmUp:
      return "warm_up";
    case LeakClass::kSteady:
      return "steady";
  }
  return "";
}

std::size_t LeakReport::leaks() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(verdicts, [](const LeakVerdict& verdict) {
        return verdict.leak_class == LeakClass::kLeak && verdict.expected.empty();
      }));
}

Result<LeakReport> JudgeLeaks() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    runtime::Judgement judgement;
    const bool is_watched = runtime::WithWatch(
        [&](const runtime::WatchState& state) { judgement = runtime::Judge(*core, &state); });
    if (!is_watched) judgement = runtime::Judge(*core, nullptr);
    return runtime::Finish(*core, std::move(judgement), true);
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot judge what leaks: ") + error.what());
  }
}

}  // namespace heldby
