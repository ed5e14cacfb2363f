// The part of a dump that people read.
#include "watch/dump_text.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "collect/safe_text.h"
#include "collect/socket_state.h"
#include "core/base/clock.h"
#include "profile/dump_format.h"
#include "watch/peer_text.h"
#include "watch/verdict_text.h"

namespace heldby::watch {
namespace {

constexpr std::size_t kSummarySites = 20;
constexpr std::size_t kSummaryFrames = 12;

// The date of a day counted from 1970-01-01; gmtime() may allocate.
// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
void Date(std::int64_t days, std::int64_t* year, std::int64_t* month, std::int64_t* day) {
  days += 719468;
  const std::int64_t era = days / 146097;
  const std::int64_t of_era = days - era * 146097;
  const std::int64_t year_of_era =
      (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const std::int64_t of_year =
      of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted = (5 * of_year + 2) / 153;
  *day = of_year - (153 * shifted + 2) / 5 + 1;
  *month = shifted < 10 ? shifted + 3 : shifted - 9;
  *year = year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

void TwoDigits(std::int64_t value, TextSink* sink) {
  sink->Text(value < 10 ? "0" : "").Number(value);
}

void Percent(const Reading& reading, TextSink* sink) {
  const double share =
      static_cast<double>(reading.used_bytes) / static_cast<double>(reading.limit_bytes);
  sink->Tenths(static_cast<std::int64_t>(share * 1000)).Text(" %");
}

}  // namespace

void UtcTime(std::int64_t seconds, bool for_file_names, TextSink* sink) {
  std::int64_t year = 0;
  std::int64_t month = 0;
  std::int64_t day = 0;
  Date(seconds / 86400, &year, &month, &day);
  const std::string_view between_days = for_file_names ? "" : "-";
  const std::string_view between_hours = for_file_names ? "" : ":";
  const std::int64_t of_day = seconds % 86400;
  sink->Number(year).Text(between_days);
  TwoDigits(month, sink);
  sink->Text(between_days);
  TwoDigits(day, sink);
  sink->Text("T");
  TwoDigits(of_day / 3600, sink);
  sink->Text(between_hours);
  TwoDigits(of_day / 60 % 60, sink);
  sink->Text(between_hours);
  TwoDigits(of_day % 60, sink);
  sink->Text("Z");
}

std::int64_t DumpText::AgeSeconds(std::uint64_t since_ns) const {
  return core::BetweenNs(since_ns, core_.registry->now_ns()) / 1'000'000'000;
}

void DumpText::Heading(const Occasion& occasion) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const Outlook& outlook = occasion.outlook;
  sink_.Text(dump::kMagic).Text("pid=").Number(getpid()).Text(" level=");
  sink_.Text(NameOf(occasion.level)).EndLine();
  sink_.Text("reason         ");
  if (occasion.level == Level::kNone) {
    sink_.Text("none: what this process held when it was last looked at");
  } else if (occasion.level == Level::kSoon) {
    sink_.Text("at this growth the limit is less than 3 s away");
  } else {
    sink_.Text(NameOf(occasion.level)).Text(" % of the limit used");
  }
  sink_.EndLine();
  // What a program writes over its arguments may be anything.
  constexpr std::size_t kMostNameBytes = 64;
  const char* name = program_invocation_short_name;
  sink_.Text("process        ")
      .Escaped(std::string_view(name, strnlen(name, kMostNameBytes)))
      .Text(", ")
      .Number(getpid());
  sink_.Text(", ").Text(kBegun).Number(occasion.begun_ticks).Text(" since boot");
  sink_.EndLine();
  sink_.Text("time           ");
  UtcTime(now.tv_sec, /*for_file_names=*/false, &sink_);
  sink_.EndLine();
  if (occasion.outlook.tightest < 0) {
    sink_.Text("limit          none").EndLine();
  } else {
    sink_.Text("limit          ").Number(occasion.tightest.limit_bytes).Text(" bytes, ");
    sink_.Text(occasion.limit.kind);
    if (occasion.limit.where[0] != '\0') sink_.Text(" ").Escaped(occasion.limit.where);
    sink_.EndLine();
    sink_.Text("used           ").Number(occasion.tightest.used_bytes).Text(" bytes, ");
    Percent(occasion.tightest, &sink_);
    sink_.EndLine();
    sink_.Text("growth         ").Number(outlook.growth_bytes_per_second).Text(" bytes/s");
    sink_.EndLine();
    sink_.Text("time to limit  ");
    if (outlook.time_to_limit_ns == kNever) {
      sink_.Text("does not grow");
    } else {
      sink_.Tenths(outlook.time_to_limit_ns / 100'000'000).Text(" s");
    }
    sink_.EndLine();
  }
  sink_.Text("resident       ").Number(occasion.resident_bytes).Text(" bytes, of this process");
  sink_.EndLine();
  const core::HookDescription hooks = core_.describe_hooks();
  if (hooks.active) {
    sink_.Text("live heap      ").Number(holdings_.live_bytes());
    sink_.Text(" bytes, estimated from samples").EndLine();
  } else {
    sink_.Text("live heap      not seen: ").Text(hooks.reason).EndLine();
  }
}

void DumpText::Verdict() {
  static char text[kVerdictBytes];  // one thread, and a small stack
  std::string_view rest(text, CopyVerdictText(text));
  sink_.EndLine();
  if (rest.empty()) {
    sink_.Text("no verdict yet").EndLine();
    return;
  }
  sink_.Text("the last verdict:").EndLine();
  while (!rest.empty()) {
    const std::size_t size = std::min(rest.find('\n'), rest.size());
    sink_.Text("  ").Text(rest.substr(0, size)).EndLine();
    rest.remove_prefix(std::min(size + 1, rest.size()));
  }
}

bool DumpText::IsReplaced(const core::HeapSite& site, std::size_t frame) const {
  const CodeModule* module = modules_.Find(site.frames[frame] - 1);
  const std::uint16_t then = site.modules[frame];
  return then != 0 && (module == nullptr || (module->tag != 0 && module->tag != then));
}

void DumpText::Frame(const core::HeapSite& site, std::size_t frame) {
  const std::uint64_t call = site.frames[frame] - 1;
  const CodeModule* module = modules_.Find(call);
  if (module == nullptr || IsReplaced(site, frame)) {
    sink_.Text("0x").Hex(call);
    if (module != nullptr) sink_.Text(" (unloaded)");
    return;
  }
  sink_.Text(modules_.FileOf(*module)).Text("+0x");
  sink_.Hex(call - module->start + module->file_offset);
}

void DumpText::TopSites() {
  sink_.EndLine();
  sink_.Text(
      "places that allocated what is live, as file+offset; heldby convert has the names");
  sink_.EndLine();
  sink_.Text("       bytes      objects  innermost first").EndLine();
  const auto sites = holdings_.sites();
  for (const core::HeapSite& site : sites.first(std::min(sites.size(), kSummarySites))) {
    sink_.Number(LiveBytes(site), 12).Text(" ").Number(LiveObjects(site), 12).Text(" ");
    if (site.depth == 0) sink_.Text(" [stack table full]");
    for (std::size_t i = 0; i < std::min(site.depth, kSummaryFrames); ++i) {
      sink_.Text(" ");
      Frame(site, i);
    }
    sink_.Text(site.depth > kSummaryFrames ? " ..." : "").EndLine();
  }
}

void DumpText::KernelState(const core::ConnectionView& view) {
  if (view.ended) {
    sink_.Text("has ended and still holds memory");
    return;
  }
  const collect::SocketState socket = collect::ReadSocketQueues(view.fd, view.cookie);
  const collect::SocketFinding found = collect::FindProblem(socket);
  const auto seconds = found.stalled_ms / 1000;
  switch (found.problem) {
    case ConnectionProblem::kPeerStoppedReading:
      sink_.Text("peer stopped reading for ").Number(seconds).Text(" s with ");
      sink_.Number(static_cast<std::int64_t>(socket.unsent_bytes)).Text(" bytes unsent");
      break;
    case ConnectionProblem::kPeerDead:
      sink_.Text("peer or path dead: no answer for ").Number(seconds).Text(" s");
      break;
    case ConnectionProblem::kWeStoppedReading:
      sink_.Text("we stopped reading for ").Number(seconds).Text(" s with ");
      sink_.Number(static_cast<std::int64_t>(socket.unread_bytes)).Text(" bytes waiting");
      break;
    case ConnectionProblem::kClosedByPeer:
      sink_.Text("closed by the peer but not by us");
      break;
    case ConnectionProblem::kNone:
      if (found.idle_ms > 0) sink_.Text("idle for ").Number(found.idle_ms / 1000).Text(" s");
      break;
  }
}

void DumpText::TopConnections() {
  sink_.EndLine();
  if (holdings_.connections().empty()) {
    sink_.Text("no connection is known to hold memory").EndLine();
    return;
  }
  sink_.Text("connections that hold it").EndLine();
  sink_.Text("       bytes        age s  id        peer, state, what the kernel says")
      .EndLine();
  for (const core::ConnectionView& view : holdings_.connections()) {
    char state[collect::kSafeTextBytes];
    sink_.Number(view.held_bytes, 12).Text(" ").Number(AgeSeconds(view.born_ns), 12);
    sink_.Text("  ").Number(view.id).Text("  ").Escaped(PeerText(view).view()).Text(", ");
    sink_.Escaped({state, collect::CopySafeText(view.state, state)}).Text(", ");
    KernelState(view);
    sink_.EndLine();
  }
}

void DumpText::TopTasks() {
  sink_.EndLine();
  if (holdings_.tasks().empty()) {
    sink_.Text("no task is known to hold memory").EndLine();
    return;
  }
  sink_.Text("tasks that hold it").EndLine();
  sink_.Text("       bytes        age s  id        name, state").EndLine();
  for (const core::TaskView& view : holdings_.tasks()) {
    char name[collect::kSafeTextBytes];
    char state[collect::kSafeTextBytes];
    const char* parked = core_.registry->place(view.parked_id).text;
    sink_.Number(view.held_bytes, 12).Text(" ").Number(AgeSeconds(view.born_ns), 12);
    sink_.Text("  ").Number(view.id).Text("  ");
    const char* made = core_.registry->place(view.made_id).text;
    sink_.Escaped({name, collect::CopySafeText(made, name)}).Text(", ");
    if (view.ended) {
      sink_.Text("has ended and still holds memory");
    } else {
      sink_.Escaped({state, collect::CopySafeText(parked, state)});
    }
    sink_.EndLine();
  }
}

void DumpText::Summary(const Occasion& occasion) {
  Heading(occasion);
  Verdict();
  TopConnections();
  TopTasks();
  TopSites();
  sink_.EndLine();
}

}  // namespace heldby::watch
