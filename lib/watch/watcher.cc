#include "watch/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "core/base/clock.h"
#include "core/base/signals_blocked.h"
#include "watch/dump_text.h"
#include "watch/watcher_memory.h"

namespace heldby::watch {
namespace {

// Stays the same through exec, as the id does.
std::int64_t BegunTicks() {
  char text[1024];
  const int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t got = read(fd, text, sizeof(text) - 1);
  close(fd);
  text[std::max<ssize_t>(got, 0)] = '\0';
  // The name before the last parenthesis may be anything; the 20th number after it.
  const char* at = strrchr(text, ')');
  for (int i = 0; i < 20 && at != nullptr; ++i) at = strchr(at + 1, ' ');
  return at != nullptr ? strtoll(at, nullptr, 10) : 0;
}

}  // namespace

WatchCounts& counts() {
  static constinit WatchCounts the_counts;
  return the_counts;
}

std::unique_ptr<Watcher> Watcher::Start(const core::CoreApi& core, const WatchOptions& options,
                                        char (&why)[kWhyBytes]) {
  // What it takes is taken now, and stays: at the edge there is nothing left to take.
  void* place = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (place == MAP_FAILED) {
    snprintf(why, sizeof(why), "no memory to begin with");
    return nullptr;
  }
  if (mlock(place, sizeof(Memory)) != 0) {
    // Not allowed: touched all the same, and in use every second.
  }
  auto* memory = new (place) Memory(options);
  sem_init(&memory->is_ready, 0, 0);
  sem_init(&memory->is_over, 0, 0);
  sem_init(&memory->has_ended, 0, 0);
  mprotect(memory->stack, kPage, PROT_NONE);
  std::unique_ptr<Watcher> watcher(new Watcher(core, options, memory));

  if (!memory->folder.Open(options.folder)) {
    snprintf(why, sizeof(why), "%s", strerror(errno));
    return nullptr;
  }
  std::int64_t free_bytes = 0;
  if (memory->folder.Examine(0, &free_bytes) == Refusal::kMemoryFile) {
    snprintf(why, sizeof(why),
             "on tmpfs or ramfs, whose files are memory and count against the limit");
    return nullptr;
  }
  memory->occasion.begun_ticks = BegunTicks();
  char text[64];
  const int size = snprintf(text, sizeof(text), "%s%lld ", kBegun.data(),
                            static_cast<long long>(memory->occasion.begun_ticks));
  const std::string_view mark(text, static_cast<std::size_t>(size));
  const std::span<char> buffer(memory->buffer);
  memory->folder.RemoveEarlierBox(getpid(), mark, buffer);
  memory->folder.Sweep(buffer);
  if (!memory->box.Create(memory->folder, getpid(), UnixSeconds(), mark)) {
    snprintf(why, sizeof(why), "cannot create %s: %s", memory->box.name(), strerror(errno));
    return nullptr;
  }

  const int error = watcher->BeginThread();
  if (error != 0) {
    snprintf(why, sizeof(why), "cannot start a thread: %s", strerror(error));
    return nullptr;
  }
  while (sem_wait(&memory->is_ready) != 0 && errno == EINTR) {
  }
  counts().is_running.store(true);
  return watcher;
}

Watcher::Watcher(const core::CoreApi& core, const WatchOptions& options, Memory* memory)
    : core_(core), options_(options), memory_(memory) {}

int Watcher::BeginThread() {
  const core::SignalsBlocked no_signals;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, memory_->stack + kPage, kStackBytes);
  int error = pthread_create(&memory_->thread, &attributes, &Run, this);
  pthread_attr_destroy(&attributes);
  // A program with much thread-local storage needs more than this: then it is libc's.
  if (error == EINVAL) {
    error = pthread_create(&memory_->thread, nullptr, &Run, this);
  }
  return error;
}

void Watcher::End(std::unique_ptr<Watcher> watcher) {
  if (watcher == nullptr) return;
  constexpr std::int64_t kPatienceNs = 5 * kSecond;
  Memory& memory = *watcher->memory_;
  sem_post(&memory.is_over);
  counts().is_running.store(false);
  counts().time_to_limit_ns.store(kNever);
  // By a clock that nobody sets meanwhile.
  const std::int64_t until_ns = Now() + kPatienceNs;
  const timespec until = {until_ns / kSecond, until_ns % kSecond};
  // Not pthread_clockjoin_np(): to g++ 12's ThreadSanitizer what it has joined is a leak.
  int error = 0;
  while ((error = sem_clockwait(&memory.has_ended, CLOCK_MONOTONIC, &until)) != 0 &&
         errno == EINTR) {
  }
  if (error == 0) {
    pthread_join(memory.thread, nullptr);
    return;
  }
  pthread_detach(memory.thread);
  (void)watcher.release();
}

Watcher::~Watcher() {
  if (memory_ == nullptr) return;
  memory_->box.Remove(memory_->folder);
  sem_destroy(&memory_->is_ready);
  sem_destroy(&memory_->is_over);
  sem_destroy(&memory_->has_ended);
  memory_->~Memory();
  munmap(memory_, sizeof(Memory));
}

void Watcher::ForgetInChild() {
  // The lock on the box is the parent's as long as any process has the descriptor open.
  memory_->box.Close();
  memory_->folder.Close();
  memory_->limits.Close();
  memory_->maps.Close();
  // The stack of a thread that is not there is in it; no list of libc's has it any more.
  munmap(memory_, sizeof(Memory));
  memory_ = nullptr;
  counts().is_running.store(false);
  counts().time_to_limit_ns.store(kNever);
}

void* Watcher::Run(void* self) {
  auto& watcher = *static_cast<Watcher*>(self);
  Memory& memory = *watcher.memory_;
  watcher.core_.threads->become_own();
  memory.limits.Open();
  // With its name nothing is allocated any more: a test tells by it.
  pthread_setname_np(pthread_self(), "heldby-watch");
  memory.maps.Set(open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC));
  // Both halves of the box are filled, and all that runs later has run once: its code is in
  // memory, and bound.
  memory.occasion.outlook.tightest = -1;
  watcher.Look(Now());
  watcher.WriteBox(Now());
  watcher.WriteBox(Now());
  sem_post(&memory.is_ready);
  watcher.Loop();
  sem_post(&memory.has_ended);
  return nullptr;
}

void Watcher::Loop() {
  const std::int64_t earlier_ns = counts().cpu_ns.load();
  // Memory may be short from the start.
  if (memory_->occasion.outlook.fire != Level::kNone) WriteDump(Now());
  while (true) {
    const std::int64_t now_ns = Now();
    const std::int64_t wait_ns = std::clamp<std::int64_t>(
        std::min(memory_->occasion.outlook.next_look_ns, BoxDue() - now_ns), 1'000'000,
        kSecond);
    const std::int64_t until_ns = Now() + wait_ns;
    const timespec until = {until_ns / kSecond, until_ns % kSecond};
    if (sem_clockwait(&memory_->is_over, CLOCK_MONOTONIC, &until) == 0) return;
    Look(Now());
    if (memory_->occasion.outlook.fire != Level::kNone) WriteDump(Now());
    if (Now() >= BoxDue()) WriteBox(Now());
    ReleasePages();
    timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    counts().cpu_ns.store(earlier_ns + used.tv_sec * kSecond + used.tv_nsec);
  }
}

void Watcher::Look(std::int64_t now_ns) {
  Occasion& occasion = memory_->occasion;
  const auto readings =
      memory_->limits.Read(now_ns, {memory_->buffer, sizeof(memory_->buffer)});
  occasion.outlook = memory_->levels.Look(now_ns, readings);
  occasion.level = occasion.outlook.fire;
  occasion.resident_bytes = memory_->limits.resident_bytes();
  if (occasion.outlook.tightest >= 0) {
    const auto place = static_cast<std::size_t>(occasion.outlook.tightest);
    occasion.tightest = readings[place];
    occasion.limit = memory_->limits.NameOf(place);
  }
  counts().time_to_limit_ns.store(occasion.outlook.time_to_limit_ns, std::memory_order_relaxed);
}

// A process with ten thousand mappings needs its time for it: a two hundredth of all.
void Watcher::RefreshModules(std::int64_t now_ns) {
  constexpr std::int64_t kShare = 200;
  memory_->modules.Refresh(core_, memory_->maps.fd(),
                           {memory_->buffer, sizeof(memory_->buffer)});
  memory_->modules_ns = Now();
  memory_->modules_due_ns =
      memory_->modules_ns + std::max(10 * kSecond, (memory_->modules_ns - now_ns) * kShare);
}

void Watcher::WriteBox(std::int64_t now_ns) {
  Memory& memory = *memory_;
  if (now_ns >= memory.modules_due_ns) RefreshModules(now_ns);
  memory.holdings.Find(core_);
  Occasion occasion = memory.occasion;
  occasion.level = Level::kNone;
  // Room for the last two lines.
  constexpr std::size_t kKept = 128;
  TextSink sink(-1, memory.box.text(), BlackBox::kTextBytes, BlackBox::kTextBytes - kKept);
  DumpText text(core_, memory.holdings, memory.modules, &sink);
  text.Summary(occasion);
  text.Records(/*all_sites=*/false);
  ++counts().box_writes;
  if (!memory.box.Publish(sink.bytes())) ++counts().box_failures;
  memory.box_ns = Now();
  memory.box_cost_ns = memory.box_ns - now_ns;
}

// Every second, and for half a percent of a processor at most; when seconds are left, for a
// tenth of one.
std::int64_t Watcher::BoxDue() const {
  const Memory& memory = *memory_;
  const bool is_near = memory.occasion.outlook.time_to_limit_ns < 10 * kSecond;
  return memory.box_ns + (is_near ? std::max(kSecond / 50, memory.box_cost_ns * 10)
                                  : std::max(kSecond, memory.box_cost_ns * 200));
}

}  // namespace heldby::watch
