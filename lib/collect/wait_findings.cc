#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "collect/finding.h"
#include "core/base/clock.h"

namespace heldby::collect {
namespace {

// A wait that is younger may be between two steps of a protocol.
constexpr std::int64_t kTroubleNs = 10'000'000'000;

struct Wait {
  std::uint32_t id;
  std::uint32_t site;
  std::int32_t tid;
  std::int64_t age_ns;
  std::int32_t owner = 0;  // the thread that has the mutex; 0: nobody, or not known
};

// Of glibc's pthread_mutex_t::__kind: its owner may be a thread of another process.
constexpr int kIsShared = 128;

// The mutex is the program's, and may be gone by now: read by the kernel, which answers with an
// error where a load would end the process.
std::int32_t OwnerOf(const void* mutex) {
  pthread_mutex_t copy{};
  const iovec to = {&copy, sizeof(copy)};
  const iovec from = {const_cast<void*>(mutex), sizeof(copy)};
  if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != static_cast<ssize_t>(sizeof(copy))) {
    return 0;
  }
  return (copy.__data.__kind & kIsShared) != 0 ? 0 : copy.__data.__owner;
}

bool IsAliveThread(std::int32_t tid) {
  return access(absl::StrCat("/proc/thread-self/../", tid).c_str(), F_OK) == 0;
}

std::map<std::int32_t, Wait> LongMutexWaits(const core::CoreApi& core) {
  struct Gathering {
    const core::ContentionApi* api;
    std::uint64_t now_ns;
    std::map<std::int32_t, Wait> waits;
  } gathering{core.contention, core.contention->now_ns(), {}};
  core.contention->visit_waits(
      [](void* to, const core::WaitView& view) {
        auto& all = *static_cast<Gathering*>(to);
        if (view.kind != core::WaitKind::kMutex || view.phase != core::WaitPhase::kWaiting)
          return;
        const std::int64_t waited_ns = core::BetweenNs(view.start_ns, all.now_ns);
        if (waited_ns < kTroubleNs) return;
        Wait wait{view.id, view.site, view.tid, waited_ns};
        wait.owner = OwnerOf(view.object);
        // It was this wait's mutex all the while that it was looked at.
        if (all.api->wait_phase(view.id) == core::WaitPhase::kWaiting) {
          all.waits.emplace(view.tid, wait);
        }
      },
      &gathering);
  return std::move(gathering.waits);
}

// The threads of the circle that begins and ends with `tid`; none: there is no circle.
std::vector<std::int32_t> CircleOf(const std::map<std::int32_t, Wait>& waits,
                                   std::int32_t tid) {
  std::vector<std::int32_t> circle;
  for (std::int32_t at = tid; circle.size() <= waits.size();) {
    const auto wait = waits.find(at);
    if (wait == waits.end() || wait->second.owner == 0) return {};
    circle.push_back(at);
    at = wait->second.owner;
    if (at == tid) return circle;
  }
  return {};
}

Finding FindingOf(const core::CoreApi& core, const std::vector<const Wait*>& waits,
                  std::string summary, std::string evidence) {
  Finding finding;
  LeakVerdict& verdict = finding.verdict;
  verdict.kind = LeakKind::kLostWakeups;
  verdict.leak_class = LeakClass::kLeak;
  verdict.count = static_cast<std::int64_t>(waits.size());
  verdict.summary = std::move(summary);
  verdict.evidence = std::move(evidence);
  verdict.doubt = "A program that takes such a lock by other means than pthread_mutex_lock.";
  verdict.command = "go tool pprof 'http://HOST:PORT/debug/pprof/goroutine'";
  for (const Wait* wait : waits) {
    const auto age_s = static_cast<std::int64_t>(wait->age_ns / 1'000'000'000);
    verdict.since_s = std::max(verdict.since_s, age_s);
    if (finding.stacks.size() == 3) continue;
    finding.stacks.push_back(
        {.role = absl::StrCat("thread ", wait->tid, ", for ", SpanText(age_s), ", waits at"),
         .stack = core.contention->read_block_site(wait->site).stack});
  }
  return finding;
}

}  // namespace

void AddWaitFindings(const core::CoreApi& core, std::vector<Finding>* findings) {
  const std::map<std::int32_t, Wait> waits = LongMutexWaits(core);
  std::set<std::int32_t> told;
  for (const auto& [tid, wait] : waits) {
    const std::vector<std::int32_t> circle = CircleOf(waits, tid);
    if (circle.size() < 2 || told.contains(tid)) continue;
    std::vector<const Wait*> members;
    for (const std::int32_t member : circle) {
      members.push_back(&waits.at(member));
      told.insert(member);
    }
    findings->push_back(FindingOf(
        core, members,
        absl::StrCat(circle.size(), " threads wait for each other's mutexes: a deadlock"),
        "each of them has the mutex that the one before it waits for, as the mutexes say"));
  }
  for (const auto& [tid, wait] : waits) {
    if (wait.owner == 0 || waits.contains(wait.owner) || IsAliveThread(wait.owner)) continue;
    findings->push_back(FindingOf(
        core, {&wait}, "a thread waits for a mutex whose owner has ended without unlocking it",
        absl::StrCat("the mutex says thread ", wait.owner, ", and there is none")));
  }
}

}  // namespace heldby::collect
