#include "exporters/preload/face_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/write_signals.h"
#include "exporters/preload/high_numbers.h"
#include "exporters/preload/process_tree.h"
#include "heldby/debug_server.h"
#include "heldby/heap.h"
#include "heldby/memory_watch.h"
#include "heldby/self.h"

namespace heldby::preload {
namespace {

// Never destroyed by static destruction: StopAtExit() ends it while everything it uses exists.
std::optional<DebugServer>& TheServer() {
  static auto* server = new std::optional<DebugServer>();
  return *server;
}

// exit() is no place where a thread is cancelled, and what is done in it here is full of them.
void StopAtExit() {
  UnsampledScope unsampled;
  int before = PTHREAD_CANCEL_ENABLE;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  if (TheServer().has_value()) TheServer()->Stop();
  pthread_setcancelstate(before, nullptr);
}

Result<DebugServer> StartServer(const char* address) {
  const LowNumbersTaken above_what_shells_choose;
  return DebugServer::Start({.listen = address});
}

void Listen(const char* address) {
  Result<DebugServer> started = StartServer(address);
  if (!started.ok()) {
    const bool taken_by_our_tree = started.status().code() == StatusCode::kUnavailable &&
                                   (AncestorCarriesHeldby() || ServedByHeldby(address));
    if (!taken_by_our_tree || InfoWanted()) {
      SayLine(absl::StrCat("HELDBY_LISTEN: ", started.status().message(),
                           "; the program runs on without an endpoint"));
    }
    return;
  }
  TheServer().emplace(*std::move(started));
  static const int registered = atexit(&StopAtExit);
  (void)registered;
  {
    const LowNumbersTaken above_what_shells_choose;
    Announce(TheServer()->address());
  }
  if (InfoWanted()) {
    SayLine(absl::StrCat("process ", getpid(), " serves ", TheServer()->address(),
                         "/debug/pprof/"));
  }
}

// Ended at exit by itself.
std::optional<MemoryWatch>& TheWatch() {
  static auto* watch = new std::optional<MemoryWatch>();
  return *watch;
}

void Watch(const char* directory) {
  TheWatch().reset();  // of the parent, in a forked child
  Result<MemoryWatch> started = MemoryWatch::Start({.directory = directory});
  if (started.ok()) {
    TheWatch().emplace(*std::move(started));
  } else {
    SayLine(absl::StrCat("HELDBY_DUMP_DIR: ", started.status().message(),
                         "; the program runs on without dumps"));
  }
}

Status WriteWhole(const std::string& path, const std::string& bytes) {
  // Beside the target, then renamed: a reader never sees half a profile.
  const std::string partial = absl::StrCat(path, ".partial.", getpid());
  const auto failed = [&](const char* what, const std::string& name) {
    return Status(StatusCode::kUnavailable,
                  absl::StrCat("cannot ", what, " ", name, ": ", strerror(errno)));
  };
  // A name that others can guess: what they have put there, a link above all, is not written
  // to.
  unlink(partial.c_str());
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return failed("create", partial);
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t wrote = write(fd, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      Status status = failed("write", partial);
      close(fd);
      unlink(partial.c_str());
      return status;
    }
    done += static_cast<std::size_t>(wrote);
  }
  close(fd);
  if (rename(partial.c_str(), path.c_str()) != 0) return failed("rename to", path);
  return {};
}

Status Dump(const char* pattern) {
  Result<Profile> heap = SnapshotHeap();
  if (!heap.ok()) return heap.status();
  Result<std::string> bytes = EncodePprof(*heap);
  if (!bytes.ok()) return bytes.status();
  return WriteWhole(absl::StrReplaceAll(pattern, {{"%p", absl::StrCat(getpid())}}), *bytes);
}

}  // namespace
}  // namespace heldby::preload

extern "C" void heldby_face_listen(const char* address) {
  heldby::BecomeProfilerThread();
  try {
    heldby::preload::Listen(address);
  } catch (...) {
    heldby::preload::SayLine("HELDBY_LISTEN: out of memory; the program runs on");
  }
}

extern "C" void heldby_face_watch(const char* directory) {
  heldby::BecomeProfilerThread();
  try {
    heldby::preload::Watch(directory);
  } catch (...) {
    heldby::preload::SayLine("HELDBY_DUMP_DIR: out of memory; the program runs on");
  }
}

extern "C" void heldby_face_dump(const char* pattern) {
  heldby::UnsampledScope unsampled;
  const heldby::core::WriteSignalsBlocked no_signals;  // this is a thread of the host's
  try {
    const heldby::Status status = heldby::preload::Dump(pattern);
    if (!status.ok()) {
      heldby::preload::SayLine(absl::StrCat("HELDBY_DUMP_AT_EXIT: ", status.message()));
    }
  } catch (...) {
    heldby::preload::SayLine("HELDBY_DUMP_AT_EXIT: out of memory; no profile written");
  }
}
