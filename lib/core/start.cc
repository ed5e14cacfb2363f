// What happens in a process because the core is in it: the hooks are judged once, and, if the
// environment asks for it, the face is loaded - on a thread of ours to listen or to watch the
// memory, at exit to dump.
//
// The thread blocks every signal, allocates unsampled, and ends as soon as the face has its
// own.
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "core/base/error_line.h"
#include "core/base/loader_gate.h"
#include "core/base/self_guard.h"
#include "core/base/signals_blocked.h"
#include "core/core.h"
#include "core/hooks/lock_calls.h"
#include "core/hooks/next_allocator.h"
#include "core/hooks/next_call.h"
#include "core/hooks/settings.h"
#include "core/hooks/thread_entry.h"
#include "core/registry/descriptors.h"
#include "core/registry/registry.h"
#include "core/sampler/cpu_sampler.h"
#include "core/stack/capture.h"

namespace heldby::core {
namespace {

// Copies: hosts such as redis and nginx overwrite their environment to change their title.
char listen_address[PATH_MAX];
char dump_folder[PATH_MAX];
char dump_pattern[PATH_MAX];
char face_path[PATH_MAX];

// A forked child asks for its own endpoint only after this long: most children are about to
// exec or to exit, and a daemon's parent needs a moment to give the address up.
constexpr long kChildDelayNs = 200'000'000;

bool CopyVariable(const char* name, char* copy) {
  const char* text = secure_getenv(name);
  if (text == nullptr || *text == '\0') return false;
  if (strlen(text) >= PATH_MAX) {
    Say(name,
        " is longer than 4095 characters; accepted: an address or path shorter than that; "
        "ignoring it");
    return false;
  }
  strcpy(copy, text);
  return true;
}

// As FindFace: a relative folder is meant from where the program was started.
void MakeAbsolute(char (&path)[PATH_MAX]) {
  char folder[PATH_MAX];
  if (path[0] == '/' || getcwd(folder, sizeof(folder)) == nullptr) return;
  const std::size_t length = strlen(folder);
  if (length + 1 + strlen(path) >= PATH_MAX) return;
  memmove(path + length + 1, path, strlen(path) + 1);
  memcpy(path, folder, length);
  path[length] = '/';
}

// The face lies beside the core. Asked for while the working directory is still the one that a
// relative LD_PRELOAD was written for.
void FindFace() {
  Dl_info info;
  char own_path[PATH_MAX];
  if (dladdr(reinterpret_cast<void*>(&FindFace), &info) == 0 || info.dli_fname == nullptr ||
      realpath(info.dli_fname, own_path) == nullptr) {
    return;
  }
  constexpr char kFace[] = "libheldby-server.so";
  char* slash = strrchr(own_path, '/');
  if (slash == nullptr) return;
  slash[1] = '\0';
  if (strlen(own_path) + sizeof(kFace) > PATH_MAX) return;
  strcpy(face_path, own_path);
  strcat(face_path, kFace);
}

// A fork waits for it: core/base/loader_gate.h. Not for the linker alone: a child that is
// forked while the face opens its socket keeps that socket, which nobody has noted yet to be
// closed in children. Daemons fork in their first milliseconds, which is when our thread does
// both.
std::atomic<bool> loading{false};

void* FaceFunction(const char* name) {
  // RTLD_LOCAL: what the face links (Abseil, libstdc++) must not become visible to the host.
  void* face =
      dlopen(face_path[0] != '\0' ? face_path : "libheldby-server.so", RTLD_NOW | RTLD_LOCAL);
  void* function = face != nullptr ? dlsym(face, name) : nullptr;
  if (function == nullptr) {
    const char* why = dlerror();
    Say("cannot load the server library: ", why != nullptr ? why : face_path);
  }
  return function;
}

struct Start {
  bool is_delayed;
  bool is_inside;  // the loader already: EnterLoaderNow()
} start;

void* StartThread(void*) {
  thread_api.become_own();
  pthread_setname_np(pthread_self(), "heldby-start");
  if (start.is_delayed) {
    timespec delay{0, kChildDelayNs};
    nanosleep(&delay, nullptr);
  }
  if (!start.is_inside) EnterLoader();
  loading.store(true);
  using Begin = void (*)(const char* where);
  // The watch first: what listens may have to wait for others of its process tree.
  const char* const wanted[][2] = {{dump_folder, "heldby_face_watch"},
                                   {listen_address, "heldby_face_listen"}};
  for (const auto& [where, name] : wanted) {
    if (*where == '\0') continue;
    if (auto begin = reinterpret_cast<Begin>(FaceFunction(name))) begin(where);
  }
  loading.store(false);
  LeaveLoader();
  return nullptr;
}

void StartFace(const Start& how) {
  start = how;
  SelfGuard self;
  const SignalsBlocked no_signals;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 512 * 1024);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, &StartThread, nullptr);
  pthread_attr_destroy(&attributes);
  if (error == 0) return;
  if (how.is_inside) LeaveLoader();
  static bool said = false;  // by the parent, for its children too
  if (!said) Say("cannot start a thread to serve or to watch: ", strerror(error));
  said = true;
}

// A dozen are what loading, listening and answering take at once. Of few the host needs each.
constexpr rlim_t kLeastFiles = 64;

bool LeavesFilesToTheHost() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= kLeastFiles) return true;
  Say("this process may open fewer than 64 files (RLIMIT_NOFILE): they are left to it, without "
      "endpoint and memory watch");
  return false;
}

// A handler of pthread_atfork that is registered while a fork waits in BeforeFork is left out
// of that fork; these are not.
std::atomic<void (*)()> of_the_face[4];
std::atomic<bool> watches_forks{false};

// The connections and tasks of the parent are the parent's.
void BeginRegistryAnewInChild() {
  descriptors.BeginAnewInChild();
  registry.BeginAnewInChild();
  ForgetInheritances();
  contention.BeginAnewInChild();
  ForgetQuestionsInChild();
  cpu_sampler.ForgetInChild();
  for (const auto& function : of_the_face) {
    if (void (*run)() = function.load(std::memory_order_acquire)) run();
  }
}

// What such a child inherits, if the wait was in vain, is a face that is listed as loaded and
// is not: it must never be asked for.
bool face_half_loaded = false;

// Handlers of fork may fork, and what they make goes on inside of the outer fork: it may come
// here twice, and has one face. (Its id alone would not tell: the first process of a container
// that makes another one has the same as its child.)
std::atomic<pid_t> has_begun_in{0};

void BeforeFork() { has_begun_in.store(0); }

void OnForkInChild() {
  // What one child says, the others need not.
  const bool known = VainForksOfParent() > 1 || face_half_loaded;
  face_half_loaded = loading.exchange(false) || face_half_loaded;
  if (face_half_loaded) {
    if (!known)
      Say("forked while the server library was being loaded: no endpoint in this child");
    return;
  }
  if (has_begun_in.exchange(getpid()) == getpid()) return;
  StartFace({.is_delayed = true, .is_inside = false});
}

void DumpAtExit() {
  // The handlers of exit() are walked anew after one of them has loaded a library.
  static std::atomic<bool> done{false};
  if (face_half_loaded || done.exchange(true)) return;
  SelfGuard self;
  // exit() is no place where a thread is cancelled; loading reads files, which is one.
  int before = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  using Dump = void (*)(const char* pattern);
  if (auto dump = reinterpret_cast<Dump>(FaceFunction("heldby_face_dump"))) dump(dump_pattern);
  pthread_setcancelstate(before, nullptr);
}

#ifdef HELDBY_STATIC_CORE
void WrapSockets(bool) {}
#else
void WrapSockets(bool active) {
  ResolveSocketCalls();
  if (active && WrapsSockets()) descriptors.Watch();
}
#endif

// glibc's debugging malloc has a lock of its own that fork knows nothing of: with a thread of
// ours in the process, a child could find it locked for ever.
bool MayHaveThreadsOverTheAllocator() {
  ResolveNextAllocator();
  if (strncmp(allocator_facts.name, "libc_malloc_debug.so", 20) != 0) return true;
  Say("no endpoint and no watch over libc_malloc_debug.so: with a second thread in the process "
      "its malloc may hang in a forked child");
  return false;
}

void StartCore() {
  // The loader begins a library anew that is needed once more after its end: DumpAtExit().
  static bool has_begun = false;
  if (has_begun) return;
  has_begun = true;
  ResolveThreadCalls();
  ResolveLockCalls();
  ResolveWaitCalls();
  WrapSockets(IsTheCoreOfThisProcess());
  if (!IsTheCoreOfThisProcess()) return;
  const bool knows_settings = CopyEnvironment();
  NoteStandardError();
  DecideHookState();
  if (Disabled()) return;
  SetBlockRateNs(BlockRateFromEnvironment());
  SetMutexFraction(MutexFractionFromEnvironment());
  WatchForks();
  pthread_atfork(nullptr, nullptr, &BeginRegistryAnewInChild);
  watches_forks.store(true, std::memory_order_release);
  WatchThreads();
  const bool listen = CopyVariable("HELDBY_LISTEN", listen_address);
  const bool watch = CopyVariable("HELDBY_DUMP_DIR", dump_folder);
  const bool dump = CopyVariable("HELDBY_DUMP_AT_EXIT", dump_pattern);
  if (!listen && !watch && !dump) return;
  FindFace();
  if (watch) MakeAbsolute(dump_folder);
  if (dump) atexit(&DumpAtExit);
  if (!knows_settings) {
    Say("the HELDBY_ variables are longer than 64 KiB together; accepted: less than that; no "
        "endpoint and no watch");
    return;
  }
  if ((listen || watch) && LeavesFilesToTheHost() && MayHaveThreadsOverTheAllocator()) {
    pthread_atfork(&BeforeFork, nullptr, &OnForkInChild);
    // Loading begins before the host can fork: we are inside when this constructor returns. For
    // a watch alone it begins later: most processes of a tree have ended by then, and cost no
    // more than a thread.
    StartFace({.is_delayed = !listen, .is_inside = listen && EnterLoaderNow()});
  }
}

}  // namespace

bool RunInForkedChildren(void (*function)()) {
  if (!watches_forks.load(std::memory_order_acquire)) return false;
  for (auto& place : of_the_face) {
    void (*none)() = nullptr;
    if (place.compare_exchange_strong(none, function, std::memory_order_acq_rel)) return true;
  }
  return false;
}

}  // namespace heldby::core

// With a name, so that an executable can ask the static library for it (-u).
extern "C" __attribute__((constructor, visibility("hidden"))) void heldby_core_start() {
  heldby::core::StartCore();
}
