#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "collect/finding.h"
#include "profile/flat_hash.h"

namespace heldby::collect {
namespace {

// Trouble that is younger than this passes by itself more often than not.
constexpr std::int64_t kTroubleNs = 10'000'000'000;
// Fewer than this may be what the program is about.
constexpr std::size_t kSome = 3;
// Held for peers that take nothing: worth a word, and worth an alarm.
constexpr std::int64_t kLittleBytes = 1 << 20;
constexpr std::int64_t kMuchBytes = 16 << 20;
constexpr std::int64_t kMuchEachBytes = 256 << 10;

struct Group {
  LeakKind kind;
  std::string route;
  std::vector<const ConnectionInfo*> members{};

  [[nodiscard]] std::int64_t Sum(
      const std::function<std::int64_t(const ConnectionInfo&)>& of) const {
    std::int64_t sum = 0;
    for (const ConnectionInfo* member : members) sum += of(*member);
    return sum;
  }
  // What the program queues for it lies in the heap, too: counted once.
  [[nodiscard]] std::int64_t held_bytes() const {
    return Sum([](const ConnectionInfo& info) {
      return std::max(info.held_bytes, static_cast<std::int64_t>(info.queued_bytes));
    });
  }
  [[nodiscard]] std::int64_t oldest_s() const {
    std::int64_t oldest_ns = 0;
    for (const ConnectionInfo* member : members) {
      oldest_ns = std::max(oldest_ns, StillFor(*member));
    }
    return oldest_ns / 1'000'000'000;
  }
  [[nodiscard]] bool is_timed() const { return IsTimed(*members.front()); }

  // Of a socket that is not TCP the kernel keeps no times: what lies in it may have come now.
  static bool IsTimed(const ConnectionInfo& info) {
    return info.stalled_ns > 0 || info.problem == ConnectionProblem::kClosedByPeer ||
           info.problem == ConnectionProblem::kNone;
  }
  static std::int64_t StillFor(const ConnectionInfo& info) {
    if (info.problem == ConnectionProblem::kNone) return info.idle_ns;
    return IsTimed(info) ? info.stalled_ns : info.state_age_ns;
  }
};

// What the program calls it: its route, or else its task, or else nothing.
std::string RouteOf(const ConnectionInfo& info) {
  for (const auto& [key, value] : info.labels) {
    if (key == "route") return value;
  }
  if (!info.task.empty()) return absl::StrCat("task ", info.task);
  return "";
}

bool IsUnclosed(const Evidence& evidence, const ConnectionInfo& info) {
  if (info.direction != Direction::kOutbound || !info.is_idle) return false;
  const auto work = evidence.work_of.find(static_cast<std::uint32_t>(info.id));
  return work != evidence.work_of.end() && !work->second.waits_for_peer &&
         info.idle_ns >= kTroubleNs;
}

// False: nothing is wrong with it.
bool KindOf(const Evidence& evidence, const ConnectionInfo& info, LeakKind* kind) {
  if (info.ended || !info.kernel_known) return false;
  const bool is_old = Group::StillFor(info) >= kTroubleNs;
  switch (info.problem) {
    case ConnectionProblem::kPeerStoppedReading:
    case ConnectionProblem::kPeerDead:
      *kind = LeakKind::kStuckReaders;
      return is_old;
    case ConnectionProblem::kWeStoppedReading:
    case ConnectionProblem::kClosedByPeer:
      *kind = LeakKind::kUnreadResponses;
      // Every busy socket has something in it: without times, only the program can tell.
      return is_old && (Group::IsTimed(info) || !info.state.empty());
    case ConnectionProblem::kNone:
      *kind = LeakKind::kUnclosedConnections;
      return IsUnclosed(evidence, info);
  }
  return false;
}

std::string CountText(std::size_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

// The stacks that allocated what these connections hold, those of most bytes first.
std::vector<PendingStack> AllocatedFor(const Evidence& evidence, const Group& group) {
  FlatHashSet<std::uint32_t> members;
  for (const ConnectionInfo* member : group.members) {
    members.insert(static_cast<std::uint32_t>(member->id));
  }
  std::map<const std::uintptr_t*, std::pair<std::int64_t, const core::HeapSite*>> by_stack;
  for (const core::LiveSampleView& sample : evidence.samples) {
    if (sample.connection == 0 || !members.contains(sample.connection)) continue;
    const auto site = evidence.sites.find(sample.site);
    if (site == evidence.sites.end() || site->second.depth == 0) continue;
    auto& [bytes, first] = by_stack[site->second.frames];
    bytes += static_cast<std::int64_t>(sample.bytes);
    first = &site->second;
  }
  std::vector<std::pair<std::int64_t, const core::HeapSite*>> order;
  order.reserve(by_stack.size());
  for (const auto& [frames, found] : by_stack) order.push_back(found);
  std::ranges::sort(order, std::ranges::greater(), [](const auto& one) { return one.first; });
  std::vector<PendingStack> stacks;
  for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 3); ++i) {
    const core::HeapSite& site = *order[i].second;
    stacks.push_back({.role = absl::StrCat(BytesText(order[i].first), " allocated at"),
                      .stack = {site.frames, site.modules, site.depth, site.truncated}});
  }
  return stacks;
}

std::vector<std::string> HeaviestOf(const Group& group) {
  std::vector<const ConnectionInfo*> order = group.members;
  std::ranges::stable_sort(order, std::ranges::greater(), [](const ConnectionInfo* info) {
    return std::pair(info->held_bytes, Group::StillFor(*info));
  });
  std::vector<std::string> holders;
  for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 3); ++i) {
    const ConnectionInfo& info = *order[i];
    holders.push_back(absl::StrCat(
        "connection ", static_cast<std::uint32_t>(info.id), " ",
        info.peer.empty() ? "peer not known" : info.peer, ": ", BytesText(info.held_bytes),
        info.task.empty() ? "" : absl::StrCat(", task ", info.task),
        info.verdict.empty() ? "" : absl::StrCat(", ", info.verdict)));
  }
  return holders;
}

std::vector<std::string> NamesOf(const Group& group) {
  std::set<std::string> names;
  for (const ConnectionInfo* member : group.members) {
    if (!member->task.empty()) names.insert(member->task);
    for (const auto& [key, value] : member->labels) {
      if (key == "route") names.insert(value);
    }
  }
  return {names.begin(), names.end()};
}

std::int64_t UnsentOf(const ConnectionInfo& info) {
  return static_cast<std::int64_t>(info.unsent_bytes);
}
std::int64_t HeldOf(const ConnectionInfo& info) { return info.held_bytes; }
std::int64_t UnreadOf(const ConnectionInfo& info) {
  return static_cast<std::int64_t>(info.unread_bytes);
}

void DescribeStuckReaders(const Evidence& evidence, const Group& group, LeakVerdict* verdict) {
  const std::int64_t held = group.held_bytes();
  const auto count = static_cast<std::int64_t>(group.members.size());
  const bool is_much =
      held >= kMuchBytes || held * 10 >= std::max<std::int64_t>(evidence.live_bytes, 1);
  const bool is_leak = is_much && held >= kLittleBytes && held / count >= kMuchEachBytes;
  verdict->leak_class = is_leak && group.is_timed() ? LeakClass::kLeak : LeakClass::kSuspect;
  verdict->summary = absl::StrCat(
      CountText(group.members.size(), "connection"),
      group.route.empty() ? "" : absl::StrCat(" of ", group.route), " hold",
      count == 1 ? "s " : " ", BytesText(held),
      group.is_timed()
          ? absl::StrCat(" for peers that have not read for ", SpanText(verdict->since_s))
          : " for peers that have something to read");
  verdict->evidence = absl::StrCat(
      "the kernel has ", BytesText(group.Sum(&UnsentOf)),
      group.is_timed() ? absl::StrCat(" for them that it cannot send, and nothing has moved "
                                      "for up to ",
                                      SpanText(verdict->since_s))
                       : " for them that they have not read, for how long this kind of socket "
                         "does not tell",
      "; ", BytesText(group.Sum(&HeldOf)), " of the heap is charged to them, of ",
      BytesText(evidence.live_bytes), " live");
  verdict->doubt =
      "Peers that pause and go on are told to wait, too; then the bytes are no leak, but what "
      "such a pause costs. A bounded queue for each connection would hold less.";
  verdict->command =
      "go tool pprof -tagroot=peer 'http://HOST:PORT/debug/pprof/heap?labels=connection'";
}

void DescribeUnread(const Group& group, LeakVerdict* verdict) {
  const bool is_ours = group.members.front()->direction == Direction::kOutbound;
  const std::int64_t unread = group.Sum(&UnreadOf);
  const bool is_some = group.members.size() >= kSome;
  // A pool keeps connections that the peer has closed until it wants one: nothing lies in them.
  verdict->leak_class = is_some && group.is_timed() && (unread > 0 || !is_ours)
                            ? LeakClass::kLeak
                            : LeakClass::kSuspect;
  const auto hung_up = std::ranges::count_if(group.members, [](const ConnectionInfo* info) {
    return info->problem == ConnectionProblem::kClosedByPeer;
  });
  verdict->summary = absl::StrCat(
      CountText(group.members.size(), is_ours ? "outbound connection" : "inbound connection"),
      group.route.empty() ? "" : absl::StrCat(" of ", group.route),
      unread > 0 ? absl::StrCat(" with ", BytesText(unread), " that we have not read for ")
                 : " that the peer has closed and we have not, for ",
      SpanText(verdict->since_s));
  verdict->evidence =
      absl::StrCat(BytesText(unread), " wait in the kernel to be read; ", hung_up,
                   " of them are closed by the peer (CLOSE_WAIT); ", BytesText(verdict->bytes),
                   " of the heap is charged to them");
  verdict->doubt =
      is_ours
          ? "A pool may keep connections that the peer has closed until it next looks at them; "
            "a reader may be slow on purpose. Responses that are neither read to their end "
            "nor closed look like this."
          : "Requests may wait for a worker. Connections that the server forgot to close look "
            "like this.";
  verdict->command = "go tool pprof 'http://HOST:PORT/debug/pprof/connections'";
}

void DescribeUnclosed(const Evidence& evidence, const Group& group, LeakVerdict* verdict) {
  const auto& work = evidence.work_of.at(static_cast<std::uint32_t>(group.members.front()->id));
  // Who sleeps may be between two heartbeats, and waits for nobody.
  const bool is_leak = group.members.size() >= kSome && work.waits_for != "sleep";
  verdict->leak_class = is_leak ? LeakClass::kLeak : LeakClass::kSuspect;
  verdict->summary = absl::StrCat(CountText(group.members.size(), "outbound connection"),
                                  group.route.empty() ? "" : absl::StrCat(" of ", group.route),
                                  " at rest for ", SpanText(verdict->since_s),
                                  ", whose peers are done and whose tasks wait for us (",
                                  work.waits_for, "): responses that nobody reads or closes");
  verdict->evidence = absl::StrCat(
      "not one task of theirs waits for the peer; all of them wait for this program, ",
      "for up to ", SpanText(verdict->since_s), "; ", BytesText(verdict->bytes),
      " of the heap is charged to them");
  verdict->doubt =
      "A reader may be slow on purpose. Connections that rest in a pool have nobody waiting, "
      "or somebody who waits for the peer, and are not counted here.";
  verdict->command = "go tool pprof 'http://HOST:PORT/debug/pprof/connections'";
}

Finding FindingOf(const Evidence& evidence, const Group& group) {
  Finding finding;
  LeakVerdict& verdict = finding.verdict;
  verdict.kind = group.kind;
  verdict.count = static_cast<std::int64_t>(group.members.size());
  verdict.bytes = group.held_bytes();
  verdict.since_s = group.oldest_s();
  verdict.holders = HeaviestOf(group);
  finding.names = NamesOf(group);
  const ConnectionInfo& first = *group.members.front();
  std::vector<PendingStack> allocated = AllocatedFor(evidence, group);
  PendingStack opened{.role = "opened at"};
  opened.calls = first.opened_by;
  if (group.kind == LeakKind::kStuckReaders) {
    DescribeStuckReaders(evidence, group, &verdict);
    finding.stacks = std::move(allocated);
    finding.stacks.push_back(std::move(opened));
    return finding;
  }
  group.kind == LeakKind::kUnreadResponses ? DescribeUnread(group, &verdict)
                                           : DescribeUnclosed(evidence, group, &verdict);
  finding.stacks.push_back(std::move(opened));
  std::ranges::move(allocated, std::back_inserter(finding.stacks));
  return finding;
}

}  // namespace

void AddConnectionFindings(const Evidence& evidence, std::vector<Finding>* findings) {
  using GroupKey =
      std::tuple<LeakKind, Direction, bool, std::string, const std::vector<std::uint64_t>>;
  std::map<GroupKey, Group> groups;
  for (const ConnectionInfo& info : evidence.connections) {
    LeakKind kind{};
    if (!KindOf(evidence, info, &kind)) continue;
    Group& group =
        groups[{kind, info.direction, Group::IsTimed(info), RouteOf(info), info.opened_by}];
    group.kind = kind;
    group.route = RouteOf(info);
    group.members.push_back(&info);
  }
  for (const auto& [key, group] : groups) {
    const bool is_worth_it =
        group.kind != LeakKind::kStuckReaders || group.held_bytes() >= kLittleBytes;
    if (is_worth_it) findings->push_back(FindingOf(evidence, group));
  }
}

}  // namespace heldby::collect
