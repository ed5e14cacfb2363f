#include "collect/proc_task.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace heldby::collect {
namespace {

struct Call {
  long number;
  const char* name;
  bool takes_descriptor;
};

// Where threads of services wait. By name, not by number: those differ between architectures,
// and so do the older ones that not every architecture has.
constexpr Call kCalls[] = {
    {SYS_futex, "futex", false},
    {SYS_read, "read", true},
    {SYS_readv, "readv", true},
    {SYS_pread64, "pread", true},
    {SYS_write, "write", true},
    {SYS_writev, "writev", true},
    {SYS_pwrite64, "pwrite", true},
    {SYS_recvfrom, "recv", true},
    {SYS_recvmsg, "recvmsg", true},
    {SYS_recvmmsg, "recvmmsg", true},
    {SYS_sendto, "send", true},
    {SYS_sendmsg, "sendmsg", true},
    {SYS_sendfile, "sendfile", true},
    {SYS_splice, "splice", true},
    {SYS_accept, "accept", true},
    {SYS_accept4, "accept", true},
    {SYS_connect, "connect", true},
    {SYS_epoll_pwait, "epoll_wait", true},
    {SYS_ppoll, "poll", false},
    {SYS_pselect6, "select", false},
    {SYS_nanosleep, "sleep", false},
    {SYS_clock_nanosleep, "sleep", false},
    {SYS_wait4, "wait", false},
    {SYS_waitid, "wait", false},
    {SYS_fsync, "fsync", true},
    {SYS_fdatasync, "fdatasync", true},
    {SYS_flock, "flock", true},
    {SYS_fcntl, "fcntl", true},
    {SYS_ioctl, "ioctl", true},
    {SYS_rt_sigtimedwait, "sigwait", false},
    {SYS_rt_sigsuspend, "sigsuspend", false},
    {SYS_io_uring_enter, "io_uring_enter", true},
    {SYS_io_getevents, "io_getevents", false},
    {SYS_restart_syscall, "restarted call", false},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait", true},
    {SYS_poll, "poll", false},
    {SYS_select, "select", false},
    {SYS_pause, "pause", false},
#endif
};

const Call* Find(long number) {
  const auto* found = std::ranges::find(kCalls, number, &Call::number);
  return found == std::end(kCalls) ? nullptr : found;
}

}  // namespace

std::vector<std::int32_t> ThreadIds() {
  std::vector<std::int32_t> tids;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), &::closedir);
  if (folder == nullptr) return tids;
  while (const dirent* entry = ::readdir(folder.get())) {
    std::int32_t tid = 0;
    if (absl::SimpleAtoi(static_cast<const char*>(entry->d_name), &tid)) tids.push_back(tid);
  }
  std::ranges::sort(tids);
  return tids;
}

bool ParkedAt::operator==(const ParkedAt& other) const {
  return is_parked == other.is_parked && call == other.call &&
         std::ranges::equal(arguments, other.arguments) && registers.pc == other.registers.pc &&
         registers.sp == other.registers.sp;
}

std::string ProcTask::File(const char* name) const {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid_, name);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[4096];
  const ssize_t got = ::read(fd, text, sizeof(text));
  ::close(fd);
  return got > 0 ? std::string(text, static_cast<std::size_t>(got)) : std::string();
}

std::string ProcTask::Name() const {
  std::string name = File("comm");
  while (name.ends_with('\n')) name.pop_back();
  return name;
}

// "7 0x1 0x2 0x3 0x4 0x5 0x6 SP PC", "-1 SP PC" or "running".
ParkedAt ProcTask::Where() const {
  ParkedAt where;
  const std::string text = File("syscall");
  where.is_told = !text.empty();
  const std::vector<std::string> words =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  if (words.size() != 9 && words.size() != 3) return where;
  if (!absl::SimpleAtoi(words[0], &where.call)) return where;
  const auto number = [](const std::string& word) {
    return std::strtoull(word.c_str(), nullptr, 16);
  };
  if (words.size() == 9) {
    for (std::size_t i = 0; i < 6; ++i) where.arguments[i] = number(words[i + 1]);
  }
  where.registers = {.pc = number(words[words.size() - 1]),
                     .sp = number(words[words.size() - 2]),
                     .fp = 0,
                     .fp_known = false};
  where.is_parked = true;
  return where;
}

// The second field is in parentheses and may hold anything, parentheses too.
ProcTask::Stat ProcTask::Read() const {
  const std::string text = File("stat");
  const auto name_end = text.rfind(')');
  if (name_end == text.npos) return {};
  const std::vector<std::string> words =
      absl::StrSplit(text.substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr std::size_t kState = 0;
  constexpr std::size_t kStart =
      19;  // field 22 of the file, in ticks since the machine's start
  std::int64_t ticks = 0;
  if (words.size() <= kStart || !absl::SimpleAtoi(words[kStart], &ticks)) return {};
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const std::int64_t born_ns = ticks * (1'000'000'000 / ::sysconf(_SC_CLK_TCK));
  return {
      .state = words[kState][0],
      .age_ns = std::max<std::int64_t>(now.tv_sec * 1'000'000'000 + now.tv_nsec - born_ns, 0)};
}

std::string ProcTask::TimeRun() const {
  const std::string text = File("schedstat");
  return text.substr(0, text.find(' '));
}

// A thread in sigwait(): the kernel does not show what it waits for as blocked, but hands it
// over all the same. In between it may have been neither, so its mask is read on both sides.
bool ProcTask::Blocks(int signal) const {
  return HasBlocked(signal) || Where().call == SYS_rt_sigtimedwait || HasBlocked(signal);
}

bool ProcTask::HasBlocked(int signal) const {
  const std::string text = File("status");
  for (const char* field : {"SigBlk:\t", "SigIgn:\t"}) {
    const auto at = text.find(field);
    if (at == text.npos) continue;
    const std::uint64_t mask = std::strtoull(text.c_str() + at + 8, nullptr, 16);
    if ((mask >> (signal - 1) & 1) != 0) return true;
  }
  return false;
}

std::string CallName(long call) {
  const Call* known = Find(call);
  if (known != nullptr) return known->name;
  return call < 0 ? std::string("page fault") : absl::StrCat("system call ", call);
}

std::string WaitsOn(const ParkedAt& parked) {
  const Call* known = Find(parked.call);
  if (known == nullptr || !known->takes_descriptor) return {};
  return absl::StrCat("fd ", static_cast<std::int32_t>(parked.arguments[0]));
}

// A futex with a timeout ends with EINTR; the library's own waits go on after that, a
// program's need not.
bool IsAlwaysRestarted(const ParkedAt& parked) {
  constexpr std::uint64_t kCommand = FUTEX_CMD_MASK;
  const std::uint64_t command = parked.arguments[1] & kCommand;
  return parked.call == SYS_futex && parked.arguments[3] == 0 &&
         (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET);
}

}  // namespace heldby::collect
