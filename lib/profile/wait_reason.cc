#include "profile/wait_reason.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace heldby {
namespace {

// By the beginning of a name: glibc has inner functions of many names for each of them. Inner
// ones come first, since a condition variable also takes a mutex.
constexpr std::pair<std::string_view, std::string_view> kWaits[] = {
    {"__lll_lock_wait", "mutex"},
    {"__pthread_mutex_lock", "mutex"},
    {"___pthread_mutex_lock", "mutex"},
    {"pthread_mutex_", "mutex"},
    {"__pthread_cond_", "condition"},
    {"___pthread_cond_", "condition"},
    {"pthread_cond_", "condition"},
    {"__pthread_rwlock_", "rwlock"},
    {"pthread_rwlock_", "rwlock"},
    {"__pthread_clockjoin", "join"},
    {"pthread_join", "join"},
    {"__new_sem_", "semaphore"},
    {"sem_", "semaphore"},
    {"pthread_barrier_", "barrier"},
    {"__pthread_once", "once"},
    {"pthread_once", "once"},
    {"std::__atomic_", "atomic"},
    {"std::__detail::__platform_wait", "atomic"},
    {"absl::synchronization_internal", "absl::Mutex or CondVar"},
    {"absl::lts_20220623::synchronization_internal", "absl::Mutex or CondVar"},
};

// The library's own frames are at most these; further up a host's function of such a name says
// nothing about this wait.
constexpr std::size_t kFramesAsked = 6;

std::string_view ReasonOf(const Profile& profile, const Sample& sample) {
  for (std::size_t i = 0; i < std::min(kFramesAsked, sample.stack.size()); ++i) {
    const auto at = static_cast<std::size_t>(sample.stack[i]) - 1;
    for (const Line& line : profile.locations[at].lines) {
      const std::string& name =
          profile.functions[static_cast<std::size_t>(line.function) - 1].name;
      for (const auto& [beginning, reason] : kWaits) {
        if (name.starts_with(beginning)) return reason;
      }
    }
  }
  return {};
}

}  // namespace

void NameFutexWaits(Profile* profile) {
  for (Sample& sample : profile->samples) {
    const auto state = std::ranges::find(sample.labels, "state", &Label::key);
    if (state == sample.labels.end() || state->text != "futex") continue;
    if (const auto reason = ReasonOf(*profile, sample); !reason.empty()) state->text = reason;
  }
}

}  // namespace heldby
