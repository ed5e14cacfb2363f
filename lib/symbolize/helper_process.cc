#include "symbolize/helper_process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "core/base/setting.h"
#include "core/base/signals_blocked.h"

namespace heldby::symbolize {
namespace {

constexpr rlim_t kMaxAddressSpaceBytes = rlim_t{2} << 30;
constexpr std::size_t kStackBytes = 64 * 1024;  // one for the middle, one for the program
constexpr unsigned kMaxFd = ~0u;

struct Run {
  const char* path;
  char* const* environment;
  std::span<const char> request;
  std::span<const int> fds;  // ascending
  int timeout_ms;
  std::span<char> answer;
  char* program_stack;  // its upper end
  pid_t host;

  std::size_t answer_bytes = 0;
  HelperEnd end = HelperEnd::kFailed;
  int request_pipe[2] = {-1, -1};
  int answer_pipe[2] = {-1, -1};
};

// Below here until RunHelper(): code of the middle. It shares memory with the host, so no locks
// and no allocation; system calls go past libc's wrappers, which are cancellation points and
// which the core interposes (a close() here is no close() in the host).

template <typename... Args>
long Call(long number, Args... args) {
  return syscall(number, args...);
}

void CloseRange(unsigned first, unsigned last) {
  if (first > last || Call(SYS_close_range, first, last, 0) == 0) return;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);  // kernels before 5.9
  const auto end = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
  for (unsigned fd = first; fd < end && fd <= last; ++fd) Call(SYS_close, fd);
}

void KeepOnly(std::span<const int> fds) {
  unsigned next = 0;
  for (const int fd : fds) {
    const auto keep = static_cast<unsigned>(fd);
    if (keep > next) CloseRange(next, keep - 1);
    Call(SYS_fcntl, fd, F_SETFD, 0);
    next = keep + 1;
  }
  CloseRange(next, kMaxFd);
}

std::int64_t NowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

int ExecProgram(void* argument) {
  const Run& run = *static_cast<const Run*>(argument);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction fresh {};
    fresh.sa_handler = SIG_DFL;
    sigaction(number, &fresh, nullptr);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve terabytes
  const rlimit memory{kMaxAddressSpaceBytes, kMaxAddressSpaceBytes};
  setrlimit(RLIMIT_AS, &memory);
#endif
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  Call(SYS_dup3, run.request_pipe[0], 0, 0);
  Call(SYS_dup3, run.answer_pipe[1], 1, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  char* const arguments[] = {const_cast<char*>(run.path), nullptr};
  Call(SYS_execve, run.path, arguments, run.environment);
  Call(SYS_exit_group, 127);
  return 127;
}

// True iff the program closed its output before the deadline.
bool Exchange(Run* run, std::int64_t deadline_ms) {
  std::size_t sent = 0;
  for (;;) {
    const std::int64_t left_ms = deadline_ms - NowMs();
    if (left_ms <= 0) return false;
    pollfd ready[2] = {{run->answer_pipe[0], POLLIN, 0}, {run->request_pipe[1], POLLOUT, 0}};
    const timespec timeout{left_ms / 1000, left_ms % 1000 * 1'000'000};
    if (Call(SYS_ppoll, ready, 2, &timeout, nullptr, 8) < 0 && errno != EINTR) return false;
    if (ready[1].revents != 0) {
      const long put = Call(SYS_write, run->request_pipe[1], run->request.data() + sent,
                            run->request.size() - sent);
      if (put > 0) sent += static_cast<std::size_t>(put);
      if (sent == run->request.size() || (put < 0 && errno != EAGAIN && errno != EINTR)) {
        Call(SYS_close, run->request_pipe[1]);
        run->request_pipe[1] = -1;
      }
    }
    if (ready[0].revents != 0) {
      const std::size_t room = run->answer.size() - run->answer_bytes;
      if (room == 0) return true;
      const long got =
          Call(SYS_read, run->answer_pipe[0], run->answer.data() + run->answer_bytes, room);
      if (got > 0) run->answer_bytes += static_cast<std::size_t>(got);
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return true;
    }
  }
}

bool OpenPipes(Run* run) {
  // 0, 1 and 2 are taken first, so that no pipe is overwritten when they are set up.
  for (int fd = 0; fd < 3; ++fd) {
    if (Call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0) != fd) return false;
  }
  return Call(SYS_pipe2, run->request_pipe, O_CLOEXEC) == 0 &&
         Call(SYS_pipe2, run->answer_pipe, O_CLOEXEC) == 0 &&
         Call(SYS_fcntl, run->request_pipe[1], F_SETFL, O_NONBLOCK) == 0 &&
         Call(SYS_fcntl, run->answer_pipe[0], F_SETFL, O_NONBLOCK) == 0;
}

int Middle(void* argument) {
  Run* run = static_cast<Run*>(argument);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (Call(SYS_getppid) != run->host) return 0;  // died before the line above
  struct sigaction fresh {};
  fresh.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &fresh, nullptr);  // ignored, it would reap for us and free the pid
  KeepOnly(run->fds);
  if (!OpenPipes(run)) return 0;

  const int pid = clone(ExecProgram, run->program_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, run);
  if (pid < 0) return 0;
  Call(SYS_close, run->request_pipe[0]);
  Call(SYS_close, run->answer_pipe[1]);
  const bool in_time = Exchange(run, NowMs() + run->timeout_ms);
  // Harmless if it has ended: unreaped, its pid is still its own.
  if (!in_time) Call(SYS_kill, pid, SIGKILL);
  Call(SYS_close, run->answer_pipe[0]);
  int status = 0;
  while (Call(SYS_wait4, pid, &status, 0, nullptr) < 0 && errno == EINTR) {
  }
  run->end = !in_time                                        ? HelperEnd::kTimeout
             : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? HelperEnd::kExited
                                                             : HelperEnd::kFailed;
  return 0;
}

void CloneMiddle(Run* run, char* stack_end) {
  const core::SignalsBlocked no_signals;
  // A pending cancellation would be acted upon in the middle.
  int cancel_state = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
  const int saved_errno = errno;
  const int pid = clone(Middle, stack_end, CLONE_VM | CLONE_VFORK, run);
  if (pid > 0) {
    int status = 0;
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
    }
  }
  errno = saved_errno;
  pthread_setcancelstate(cancel_state, nullptr);
}

}  // namespace

HelperEnd RunHelper(const std::string& path, std::span<const char> request,
                    std::span<const int> fds, int timeout_ms, std::span<char> answer,
                    std::size_t* answer_bytes) {
  *answer_bytes = 0;
  void* stacks = mmap(nullptr, 2 * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stacks == MAP_FAILED) return HelperEnd::kFailed;
  std::vector<int> kept(fds.begin(), fds.end());
  std::sort(kept.begin(), kept.end());
  // Nothing of the host's environment, LD_PRELOAD and DEBUGINFOD_URLS least of all, but where
  // to find libraries.
  std::string libraries;
  if (const char* value = core::Setting("LD_LIBRARY_PATH")) {
    libraries = std::string("LD_LIBRARY_PATH=") + value;
  }
  char* environment[] = {libraries.empty() ? nullptr : libraries.data(), nullptr};

  char* const middle_stack = static_cast<char*>(stacks) + kStackBytes;
  Run run{.path = path.c_str(),
          .environment = environment,
          .request = request,
          .fds = kept,
          .timeout_ms = timeout_ms,
          .answer = answer,
          .program_stack = middle_stack + kStackBytes,
          .host = getpid()};
  CloneMiddle(&run, middle_stack);
  munmap(stacks, 2 * kStackBytes);
  *answer_bytes = run.answer_bytes;
  return run.end;
}

std::string DefaultHelperPath() {
  Dl_info self{};
  std::string object;
  if (dladdr(reinterpret_cast<void*>(&DefaultHelperPath), &self) != 0 &&
      self.dli_fname != nullptr) {
    object = self.dli_fname;
  }
  // In the executable itself, dladdr gives argv[0], which may be anything.
  char exe[4096];
  const ssize_t length = readlink("/proc/thread-self/exe", exe, sizeof(exe) - 1);
  const std::string executable(exe, length > 0 ? static_cast<std::size_t>(length) : 0);
  for (const std::string& beside : {object, executable}) {
    const auto slash = beside.rfind('/');
    if (slash == std::string::npos) continue;
    const std::string folder = beside.substr(0, slash);
    for (const char* place : {"/", "/../lib/"}) {
      std::string path = folder + place + "heldby-symbolizer";
      if (access(path.c_str(), X_OK) == 0) return path;
    }
  }
  return {};
}

}  // namespace heldby::symbolize
