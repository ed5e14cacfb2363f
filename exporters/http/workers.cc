#include "exporters/http/workers.h"

#include <time.h>

#include <condition_variable>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <utility>

#include "core/base/signals_blocked.h"
#include "heldby/self.h"

namespace heldby::http {
namespace {

constexpr std::size_t kStackBytes = 1 << 20;

struct StartBlock {
  const char* name;
  std::function<void()> body;
};

void* RunThread(void* argument) {
  BecomeProfilerThread();
  const std::unique_ptr<StartBlock> start(static_cast<StartBlock*>(argument));
  ::pthread_setname_np(::pthread_self(), start->name);
  try {
    start->body();
  } catch (...) {  // an endpoint must not take the host down
  }
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  AddProfilerCpuTime(spent.tv_sec * 1'000'000'000 + spent.tv_nsec);
  return nullptr;
}

}  // namespace

Result<pthread_t> StartThread(const char* name, std::function<void()> body) {
  auto start = std::make_unique<StartBlock>(StartBlock{name, std::move(body)});
  const core::SignalsBlocked no_signals;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_t thread{};
  const int error = ::pthread_create(&thread, &attributes, RunThread, start.get());
  ::pthread_attr_destroy(&attributes);
  if (error != 0) {
    return Status(StatusCode::kUnavailable,
                  std::string("cannot start thread ") + name + ": " + ::strerrordesc_np(error));
  }
  (void)start.release();
  return thread;
}

struct Workers::Shared {
  struct Job {
    pthread_t thread{};
    bool started = false;   // `thread` is valid
    bool finished = false;  // nothing of ours runs on it any more
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::list<Job> jobs;
  int at_work = 0;
};

Workers::Workers(int limit) : limit_(limit), shared_(std::make_shared<Shared>()) {}

Workers::~Workers() { JoinUntil(std::chrono::steady_clock::now()); }

namespace {

// Whoever has taken a place for it gives that back, for want of memory too.
template <typename Function>
Result<pthread_t> StartJobThread(Function function) try {
  return StartThread("heldby-request", std::move(function));
} catch (const std::exception&) {
  return Status(StatusCode::kResourceExhausted, {});
}

}  // namespace

bool Workers::TryRun(std::function<void()> work, std::function<void()> done) {
  Reap();
  std::list<Shared::Job>::iterator job;
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->at_work >= limit_) return false;
    job = shared_->jobs.emplace(shared_->jobs.end());
    ++shared_->at_work;
  }
  auto body = [shared = shared_, job, work = std::move(work),
               done = std::move(done)]() mutable {
    work();
    {
      const std::lock_guard lock(shared->mutex);
      --shared->at_work;
    }
    // Only now may the client hear of it: its next request must find the place free.
    done();
    work = nullptr;
    done = nullptr;
    const std::lock_guard lock(shared->mutex);
    job->finished = true;
    shared->changed.notify_all();
  };
  const auto thread = StartJobThread(std::move(body));
  const std::lock_guard lock(shared_->mutex);
  if (!thread) {
    --shared_->at_work;
    shared_->jobs.erase(job);
    return false;
  }
  job->thread = *thread;
  job->started = true;
  return true;
}

void Workers::Reap() {
  std::list<Shared::Job> finished;
  {
    const std::lock_guard lock(shared_->mutex);
    for (auto job = shared_->jobs.begin(); job != shared_->jobs.end();) {
      const auto next = std::next(job);
      if (job->started && job->finished) finished.splice(finished.end(), shared_->jobs, job);
      job = next;
    }
  }
  for (const auto& job : finished) ::pthread_join(job.thread, nullptr);
}

void Workers::JoinUntil(std::chrono::steady_clock::time_point deadline) {
  {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait_until(lock, deadline, [&] {
      for (const auto& job : shared_->jobs) {
        if (!job.finished) return false;
      }
      return true;
    });
  }
  Reap();
  const std::lock_guard lock(shared_->mutex);
  for (auto& job : shared_->jobs) {
    if (std::exchange(job.started, false)) ::pthread_detach(job.thread);
  }
}

}  // namespace heldby::http
