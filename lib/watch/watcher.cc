#include "watch/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "core/base/clock.h"
#include "watch/black_box.h"
#include "watch/dump_text.h"
#include "watch/holdings.h"
#include "watch/limits.h"
#include "watch/modules.h"
#include "watch/owned_file.h"
#include "watch/peer_text.h"

namespace heldby::watch {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = 128 << 10;
constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::int64_t kMostDumpBytes = 8 << 20;
constexpr std::int64_t kLeastDumpBytes = 256 << 10;
constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t Now() { return static_cast<std::int64_t>(core::NowNs()); }

std::int64_t UnixSeconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

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

struct Watcher::Memory {
  explicit Memory(const WatchOptions& options) : levels(options.cooldown_ns) {}

  alignas(kPage) char stack[kPage + kStackBytes];  // the first page is the guard
  char sink_buffer[kBufferBytes];
  char buffer[kBufferBytes];
  Limits limits;
  Levels levels;
  Holdings holdings;
  CodeModules modules;
  DumpFolder folder;
  BlackBox box;

  pthread_t thread{};
  sem_t is_ready{};
  sem_t is_over{};
  OwnedFile maps;
  FileName written;  // a dump whose pages are to be given back
  std::int64_t written_ns = 0;
  std::int64_t modules_ns = 0;
  std::int64_t modules_due_ns = 0;
  std::int64_t box_ns = 0;  // when it was written last, and what that took
  std::int64_t box_cost_ns = 0;
  Occasion occasion;
};

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

  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, memory->stack + kPage, kStackBytes);
  int error = pthread_create(&memory->thread, &attributes, &Run, watcher.get());
  pthread_attr_destroy(&attributes);
  // A program with much thread-local storage needs more than this: then it is libc's.
  if (error == EINVAL) error = pthread_create(&memory->thread, nullptr, &Run, watcher.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
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

void Watcher::End(std::unique_ptr<Watcher> watcher) {
  if (watcher == nullptr) return;
  constexpr std::int64_t kPatienceSeconds = 5;
  Memory& memory = *watcher->memory_;
  sem_post(&memory.is_over);
  counts().is_running.store(false);
  counts().time_to_limit_ns.store(kNever);
  const timespec patience = {UnixSeconds() + kPatienceSeconds, 0};
  if (pthread_timedjoin_np(memory.thread, nullptr, &patience) == 0) return;
  pthread_detach(memory.thread);
  (void)watcher.release();
}

Watcher::~Watcher() {
  if (memory_ == nullptr) return;
  memory_->box.Remove(memory_->folder);
  sem_destroy(&memory_->is_ready);
  sem_destroy(&memory_->is_over);
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
  return nullptr;
}

void Watcher::Loop() {
  const std::int64_t earlier_ns = counts().cpu_ns.load();
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

// What goes into the file goes to the disk from now on, so that the pages can be given back.
bool Watcher::WriteDumpFile(const char* partial, const char* name) {
  Memory& memory = *memory_;
  const int folder = memory.folder.fd();
  const int fd =
      openat(folder, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  // Pages of files count, too: a small group has little room for them.
  std::int64_t most = kMostDumpBytes;
  if (memory.occasion.tightest.kind == LimitKind::kCgroup) {
    const Reading& limit = memory.occasion.tightest;
    most = std::clamp((limit.limit_bytes - limit.used_bytes) / 4, kLeastDumpBytes, most);
  }
  TextSink sink(fd, memory.sink_buffer, sizeof(memory.sink_buffer),
                static_cast<std::size_t>(most));
  DumpText text(core_, memory.holdings, memory.modules, &sink);
  text.Summary(memory.occasion);
  sink.Flush();
  text.Records(/*all_sites=*/true);
  sink.Flush();
  errno = sink.error();
  const bool done = errno == 0 && renameat(folder, partial, folder, name) == 0;
  const int error = errno;
  if (done) {
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  } else {
    unlinkat(folder, partial, 0);
  }
  close(fd);
  errno = error;
  return done;
}

void Watcher::WriteDump(std::int64_t now_ns) {
  Memory& memory = *memory_;
  const Occasion& occasion = memory.occasion;
  const std::int64_t unix_seconds = UnixSeconds();
  char ending[32];
  TextSink end(-1, ending, sizeof(ending), SIZE_MAX);
  end.Text(".").Text(NameOf(occasion.level)).Text(".heap");
  const FileName name = MakeName(getpid(), unix_seconds, {ending, end.column()});
  end.Text(".partial");
  const FileName partial = MakeName(getpid(), unix_seconds, {ending, end.column()});

  // In a group of many, those that hold next to nothing stay silent.
  Refusal refusal = Refusal::kNone;
  std::int64_t free_bytes = 0;
  int error = 0;
  if (occasion.tightest.kind != LimitKind::kAddressSpace &&
      occasion.resident_bytes < occasion.tightest.limit_bytes / 20) {
    refusal = Refusal::kSmallProcess;
  } else {
    refusal = memory.folder.Examine(options_.least_free_bytes + kMostDumpBytes, &free_bytes);
  }
  if (refusal == Refusal::kNone) {
    memory.folder.Sweep({memory.buffer, sizeof(memory.buffer)});
    if (now_ns - memory.modules_ns >= 10 * kSecond) RefreshModules(now_ns);
    memory.holdings.Find(core_);
    memory.holdings.FindHeld(core_);
    if (WriteDumpFile(partial.text, name.text)) {
      memory.written = name;
      memory.written_ns = Now();
    } else {
      error = errno;
      refusal = Refusal::kFile;
    }
  }
  if (refusal == Refusal::kNone) {
    ++counts().dumps[static_cast<int>(occasion.level)];
  } else {
    ++counts().refused[static_cast<int>(refusal)];
  }
  Say(free_bytes, refusal, error, name);
}

// What has gone to the disk by now need not stay in memory, where it counts.
void Watcher::ReleasePages() {
  if (memory_->written.text[0] == '\0' || Now() - memory_->written_ns < kSecond) return;
  const int fd = openat(memory_->folder.fd(), memory_->written.text,
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  memory_->written = FileName();
  if (fd < 0) return;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

void Watcher::Say(std::int64_t free_bytes, Refusal refusal, int error, const FileName& name) {
  if (refusal == Refusal::kSmallProcess) return;
  const Occasion& occasion = memory_->occasion;
  const Reading& limit = occasion.tightest;
  char line[1024];
  TextSink sink(-1, line, sizeof(line), SIZE_MAX);
  sink.Text("heldby: memory is running out: ").Number(limit.used_bytes >> 20).Text(" of ");
  sink.Number(limit.limit_bytes >> 20).Text(" MiB used (").Text(occasion.limit.kind);
  sink.Text(occasion.limit.where[0] != '\0' ? " " : "").Text(occasion.limit.where);
  sink.Text(")");
  if (occasion.level == Level::kSoon) sink.Text(", less than 3 s to go");
  sink.Text(refusal == Refusal::kNone ? "; wrote " : "; no dump: HELDBY_DUMP_DIR ");
  sink.Text(options_.folder);
  switch (refusal) {
    case Refusal::kMemoryFile:
      sink.Text(" is on tmpfs, whose files are memory");
      break;
    case Refusal::kShortDisk:
      sink.Text(" has ").Number(free_bytes >> 20).Text(" MiB free, it takes ");
      sink.Number((options_.least_free_bytes + kMostDumpBytes) >> 20).Text(" MiB");
      break;
    case Refusal::kFile:
      sink.Text(": cannot write ").Text(name.text).Text(" there, error ").Number(error);
      break;
    case Refusal::kNone:
      sink.Text("/").Text(name.text);
      break;
    case Refusal::kSmallProcess:
      break;
  }
  sink.EndLine();
  // A pipe that nobody empties must not stop this thread.
  pollfd out = {STDERR_FILENO, POLLOUT, 0};
  if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0 &&
      write(STDERR_FILENO, line, sink.bytes()) < 0) {
    // Nobody to tell.
  }
}

}  // namespace heldby::watch
