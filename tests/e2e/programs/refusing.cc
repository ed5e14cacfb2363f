// Runs a program to which the kernel refuses something: refusing WHAT VALUE program
// arguments...
//   WHAT a system call (perf_event_open, ptrace, timer_create, execve, clone3, ...): refused
//        with errno VALUE, but for the execve that starts the program
//   WHAT a limit (nofile, nproc, stack, as, fsize): VALUE is the limit
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Named {
  const char* name;
  long number;
};
constexpr Named kCalls[] = {{"perf_event_open", SYS_perf_event_open},
                            {"ptrace", SYS_ptrace},
                            {"timer_create", SYS_timer_create},
                            {"execve", SYS_execve},
                            {"clone", SYS_clone},
                            {"clone3", SYS_clone3},
                            {"process_vm_readv", SYS_process_vm_readv},
                            {"prctl", SYS_prctl},
                            {"memfd_create", SYS_memfd_create},
                            {"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo},
                            {"madvise", SYS_madvise},
                            {"arch_prctl", SYS_arch_prctl},
                            {"socket", SYS_socket}};
constexpr Named kLimits[] = {{"nofile", RLIMIT_NOFILE},
                             {"nproc", RLIMIT_NPROC},
                             {"stack", RLIMIT_STACK},
                             {"as", RLIMIT_AS},
                             {"fsize", RLIMIT_FSIZE}};

// An execve of this program's own argument is what starts it.
void Refuse(long call, unsigned error, const char* program) {
  const auto at = reinterpret_cast<std::uintptr_t>(program);
  const auto low = static_cast<unsigned>(at);
  const auto high = static_cast<unsigned>(at >> 32);
  const auto number = static_cast<unsigned>(call);
  const unsigned refused = SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA);
  constexpr unsigned kFirst = offsetof(seccomp_data, args);
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 7),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 4),
                          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFirst),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 2),
                          BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFirst + 4),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 1, 0),
                          BPF_STMT(BPF_RET | BPF_K, refused),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  // Of the calls that are refused only execve is looked at closer.
  const sock_fprog code = {sizeof(filter) / sizeof(filter[0]), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) != 0) {
    std::perror("seccomp");
    std::exit(125);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 125;
  // Only the program has what is preloaded: it could spoil the limit for itself alone.
  if (const char* preload = std::getenv("PRELOAD")) setenv("LD_PRELOAD", preload, 1);
  unsetenv("PRELOAD");
  const long value = std::atol(argv[2]);
  const char* program = argv[3];
  for (const auto& [name, limit] : kLimits) {
    if (std::strcmp(argv[1], name) != 0) continue;
    const auto bound = static_cast<rlim_t>(value);
    const rlimit both{bound, bound};
    // The limit of processes does not hold for root.
    if (limit == RLIMIT_NPROC && getuid() == 0 && setresuid(64999, 64999, 64999) != 0) {
      return 125;
    }
    if (setrlimit(static_cast<__rlimit_resource>(limit), &both) != 0) return 125;
  }
  for (const auto& [name, call] : kCalls) {
    if (std::strcmp(argv[1], name) == 0) Refuse(call, static_cast<unsigned>(value), program);
  }
  execve(program, argv + 3, environ);
  std::perror("execve");
  return 125;
}
