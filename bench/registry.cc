// Connections and tasks: what one costs, and what a page of many does.
//
//   registry OPERATIONS CHUNKS CONNECTIONS PARKED
//
// Prints "<ns of a Task, made and ended> <ns of a Connection with its stack, opened and ended>
// <ms of a list of CONNECTIONS sockets with what the kernel knows> <bytes of a live task>
// <ms of a goroutine profile of PARKED tasks> <the same, each waiting in two coroutines>".
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "heldby/connection.h"
#include "heldby/goroutine.h"
#include "heldby/heap.h"
#include "heldby/task.h"

namespace heldby::bench {
namespace {

using Clock = std::chrono::steady_clock;

// The fastest chunk: what is beside it on the machine only adds.
template <typename Operation>
double FastestNs(long operations, long chunks, const Operation& operation) {
  double best_ns = 1e12;
  for (long chunk = 0; chunk < chunks; ++chunk) {
    const auto start = Clock::now();
    for (long i = 0; i < operations; ++i) operation();
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    best_ns = std::min(best_ns, ns / static_cast<double>(operations));
  }
  return best_ns;
}

double BytesOfALiveTask(long count) {
  const std::int64_t before = ReadHeapCounters().registry_bytes;
  std::vector<std::unique_ptr<Task>> tasks;
  for (long i = 0; i < count; ++i) tasks.push_back(std::make_unique<Task>("live"));
  const std::int64_t after = ReadHeapCounters().registry_bytes;
  while (!tasks.empty()) tasks.pop_back();
  return static_cast<double>(after - before) / static_cast<double>(count);
}

double ListMs(long count) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<Connection> connections;
  std::vector<int> sockets;
  for (long i = 0; i < count; ++i) {
    sockets.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (sockets.back() < 0) std::abort();
    connections.emplace_back(sockets.back(), Direction::kInbound);
  }
  const double ns = FastestNs(1, 5, [&] {
    if (SnapshotConnections()->size() != connections.size()) std::abort();
  });
  connections.clear();
  for (const int fd : sockets) close(fd);
  return ns / 1e6;
}

void WaitForRead(TaskId task, const AwaitFrame* chain) {
  Park(task, InternPlace("read", SourcePlace::Here()), chain);
}
void WaitForWrite(TaskId task, const AwaitFrame* chain) {
  Park(task, InternPlace("write", SourcePlace::Here()), chain);
}
void WaitForTimer(TaskId task, const AwaitFrame* chain) {
  Park(task, InternPlace("sleep", SourcePlace::Here()), chain);
}
void WaitForPeer(TaskId task, const AwaitFrame* chain) {
  Park(task, InternPlace("connect", SourcePlace::Here()), chain);
}

double ProfileMs(long parked, bool with_chains) {
  using Wait = void (*)(TaskId, const AwaitFrame*);
  constexpr Wait kPlaces[] = {&WaitForRead, &WaitForWrite, &WaitForTimer, &WaitForPeer};
  std::vector<AsyncTask> tasks;
  // As large as small coroutines are, one after the other as an allocator lays them.
  struct CoroutineFrame {
    AwaitFrame await;
    char rest[200];
  };
  std::vector<CoroutineFrame> frames(static_cast<std::size_t>(2 * parked));
  tasks.reserve(static_cast<std::size_t>(parked));
  for (std::size_t i = 0; i < static_cast<std::size_t>(parked); ++i) {
    AwaitFrame& inner = frames[2 * i].await;
    inner.code = reinterpret_cast<const void*>(kPlaces[i % 4]);
    AwaitFrame& outer = frames[2 * i + 1].await;
    inner.awaiter = &outer;
    outer.code = reinterpret_cast<const void*>(&ProfileMs);
    tasks.emplace_back("parked");
    kPlaces[i % 4](tasks.back().id(), with_chains ? &inner : nullptr);
  }
  return FastestNs(1, 3,
                   [&] {
                     const auto profile = SnapshotGoroutines();
                     if (!profile || !EncodePprof(*profile)) std::abort();
                     std::int64_t count = 0;
                     for (const Sample& sample : profile->samples) count += sample.values[0];
                     if (count < parked) std::abort();
                   }) /
         1e6;
}

int Measure(long operations, long chunks, long connections, long parked) {
  const double task_ns = FastestNs(operations, chunks, [] { const Task task("measured"); });
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const double connection_ns = FastestNs(operations, chunks, [fd = ends[0]] {
    const Connection connection(fd, Direction::kInbound);
  });
  const double list_ms = ListMs(connections);
  // Before there are many: records that were used once are not new memory.
  const double task_bytes = BytesOfALiveTask(operations);
  const double parked_ms = ProfileMs(parked, false);
  std::printf("%.1f %.1f %.2f %.0f %.1f %.1f\n", task_ns, connection_ns, list_ms, task_bytes,
              parked_ms, ProfileMs(parked, true));
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  if (argc == 5) {
    return heldby::bench::Measure(std::atol(argv[1]), std::atol(argv[2]), std::atol(argv[3]),
                                  std::atol(argv[4]));
  }
  std::fprintf(stderr, "usage: registry OPERATIONS CHUNKS CONNECTIONS PARKED\n");
  return 2;
}
