#include "collect/threads.h"

#include <signal.h>

#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "collect/proc_task.h"

namespace heldby::collect {
namespace {

// A thread that goes to and fro between running and waiting is caught waiting, mostly.
constexpr int kPassiveTries = 3;

void Take(const core::Stack& stack, ThreadState* thread) {
  thread->frames.assign(stack.frames, stack.frames + stack.depth);
  thread->modules.assign(stack.modules, stack.modules + stack.depth);
  thread->truncated = stack.truncated;
}

class Collector {
 public:
  Collector(const core::CoreApi& core, const ThreadsOptions& options)
      : core_(core), options_(options) {}

  std::vector<ThreadState> Collect() && {
    for (const std::int32_t tid : ThreadIds()) {
      const ProcTask task(tid);
      if (tid == options_.leave_out || IsWhereItWas(tid, task)) continue;
      core::ThreadView view{};
      if (IsOwnThread(core_, tid, &view)) continue;
      const ProcTask::Stat stat = task.Read();
      if (stat.state == 0 || stat.state == 'Z' || stat.state == 'X') continue;
      ThreadState thread;
      thread.tid = tid;
      thread.name = task.Name();
      thread.age_ns = stat.age_ns;
      thread.holder = view.holder;
      if (WalkPassively(task, &thread)) to_ask_.push_back(threads_.size());
      threads_.push_back(std::move(thread));
    }
    Ask();
    if (options_.seen != nullptr && options_.seen->size() > 2 * threads_.size() + 64) {
      options_.seen->clear();  // of threads that have ended, most of it
    }
    return std::move(threads_);
  }

 private:
  bool IsWhereItWas(std::int32_t tid, const ProcTask& task) {
    if (options_.seen == nullptr) return false;
    const auto seen = options_.seen->find(tid);
    if (seen == options_.seen->end() || seen->second.time_run != task.TimeRun()) return false;
    threads_.push_back(seen->second.thread);
    return true;
  }

  // A process that has given up privileges may not read where its threads wait, only that they
  // do. They are not asked: most waits would end with EINTR.
  static bool WaitsUnseen(const ProcTask& task, ThreadState* thread) {
    const char state = task.Read().state;
    if (state != 'S' && state != 'D') return false;
    thread->state = "waiting";
    thread->problem = "waits; the kernel does not tell this process where (PR_SET_DUMPABLE)";
    return true;
  }

  // True: it has to be asked.
  bool WalkPassively(const ProcTask& task, ThreadState* thread) {
    for (int i = 0; i < kPassiveTries; ++i) {
      const std::string time_run = task.TimeRun();
      const ParkedAt where = task.Where();
      if (!where.is_told && WaitsUnseen(task, thread)) return false;
      if (!where.is_parked) continue;
      core_.threads->capture_parked(where.registers, &stack_);
      core::ThreadView view{};
      core_.threads->read(thread->tid, &view);
      if (!(task.Where() == where) || task.TimeRun() != time_run) continue;
      Take(stack_, thread);
      thread->holder = view.holder;
      thread->state = CallName(where.call);
      thread->waits_on = WaitsOn(where);
      // One that ends at the bound is as whole as any other way would have it.
      const bool is_lost = thread->truncated && stack_.depth < core::kMaxStackDepth;
      if (is_lost) {
        thread->problem =
            "frames below are found by a register that only the thread itself knows";
      }
      if (options_.seen != nullptr && !time_run.empty()) {
        (*options_.seen)[thread->tid] = {time_run, *thread};
      }
      return is_lost && options_.may_signal_waiting && IsAlwaysRestarted(where);
    }
    thread->state = "running";
    thread->problem = "runs, and was not asked";
    return true;
  }

  void Ask() {
    if (!options_.may_signal || to_ask_.empty()) return;
    std::vector<core::AskedThread> asked(to_ask_.size());
    for (std::size_t i = 0; i < asked.size(); ++i) {
      asked[i].tid = threads_[to_ask_[i]].tid;
    }
    // Which signal it will be is not known before the first is sent; who blocks the highest one
    // blocks them all, as far as anybody has been seen to do.
    const auto is_open = [](const core::AskedThread& one) {
      return !ProcTask(one.tid).Blocks(SIGRTMAX);
    };
    // Not std::ranges': what that one returns, clang 14 cannot compile.
    const auto blocks = std::stable_partition(asked.begin(), asked.end(), is_open);
    const auto count = static_cast<int>(blocks - asked.begin());
    const int signal =
        core_.threads->capture_by_signal(asked.data(), count, options_.timeout_ns);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto at = std::ranges::find(threads_, asked[i].tid, &ThreadState::tid);
      if (static_cast<int>(i) >= count) {
        at->problem = absl::StrCat("blocks signals: ", at->problem);
      } else {
        TakeAnswer(asked[i], signal, &*at);
      }
    }
    std::erase_if(threads_, [](const ThreadState& thread) { return thread.tid == 0; });
  }

  void TakeAnswer(const core::AskedThread& asked, int signal, ThreadState* thread) const {
    switch (asked.answer) {
      case core::Answer::kGiven:
        Take(asked.stack, thread);
        // What it was told; a guess is known from before.
        if ((asked.holder.connection | asked.holder.task) != 0) thread->holder = asked.holder;
        thread->problem.clear();
        return;
      case core::Answer::kThreadGone:
        thread->tid = 0;
        return;
      case core::Answer::kNone:
        thread->problem = absl::StrCat("did not answer signal ", signal, " within ",
                                       options_.timeout_ns / 1'000'000, " ms");
        return;
      case core::Answer::kNotAsked:
        thread->problem = signal == 0 ? "runs; signals are forbidden, or none is free"
                                      : "not asked: the time was over";
    }
  }

  const core::CoreApi& core_;
  const ThreadsOptions options_;
  std::vector<ThreadState> threads_;
  std::vector<std::size_t> to_ask_;
  core::Stack stack_;
};

}  // namespace

// Ours say so as soon as they run; one that has not run yet has its creator's name, and the
// creators are ours too.
bool IsOwnThread(const core::CoreApi& core, std::int32_t tid, core::ThreadView* view) {
  if (core.threads->read(tid, view)) return view->is_own;
  return absl::StartsWith(ProcTask(tid).Name(), "heldby-") && tid != getpid();
}

std::vector<ThreadState> CollectThreads(const core::CoreApi& core,
                                        const ThreadsOptions& options) {
  return Collector(core, options).Collect();
}

std::size_t CountThreads(const core::CoreApi& core) {
  std::size_t count = 0;
  for (const std::int32_t tid : ThreadIds()) {
    core::ThreadView view{};
    if (!IsOwnThread(core, tid, &view)) ++count;
  }
  return count;
}

}  // namespace heldby::collect
