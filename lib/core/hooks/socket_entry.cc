// Sockets as the host sees them: calls that make, copy, end and read from descriptors. Each is
// the real call and a note of what it did, where sockets are watched (see
// core/registry/descriptors.h); where not, the real call alone.
//
// Promises  every function here: no lock, no allocation, no user code; result and errno are the
//           real call's; async-signal-safe where that is; a cancellation point where that is
//           one, with nothing of ours held while the thread can be cancelled in it. Works
//           before constructors, after thread teardown, across fork, and changes nothing in a
//           vfork child.
#undef _FORTIFY_SOURCE  // these are the functions, not calls of them
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/self_guard.h"
#include "core/hooks/next_call.h"
#include "core/hooks/placement.h"
#include "core/registry/descriptors.h"
#include "core/sampler/heap_sampler.h"

// What Debian's binaries call where the compiler knew the size of the buffer.
extern "C" {
ssize_t __read_chk(int fd, void* buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void* buffer, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void* __restrict buffer, size_t size, size_t room, int flags,
                       sockaddr* __restrict from, socklen_t* __restrict from_size);
}

namespace heldby::core {
namespace {

#define COLD __attribute__((noinline, cold))
#define CALLER reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

class KeepErrno {
 public:
  KeepErrno() : errno_(errno) {}
  ~KeepErrno() { errno = errno_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  const int errno_;
};

// Sockets of our own threads are nobody's connections.
bool Watching() { return descriptors.watching() && !InsideSelf(); }

COLD void OnAccepted(int fd, std::uintptr_t caller) {
  const std::uint32_t id =
      descriptors.Open(fd, /*outbound=*/false, caller, &heap_sampler.stacks());
  // What comes next is for it: a thread that it is handed to, or what the loop makes of it.
  if (id != 0) descriptors.Suggest(id);
}

// A thread that asks for the next one is done with the last.
void OnAccept() { thread_slot.guess = {}; }

COLD std::uint32_t OnConnect(int fd, std::uintptr_t caller) {
  const std::uint32_t known = descriptors.Look(fd);
  if (known != 0 && descriptors.IsStill(fd, known)) return known;
  return descriptors.Open(fd, /*outbound=*/true, caller, &heap_sampler.stacks());
}

// Of a socket that was none of ours before, everything but "under way"; a connection that was
// known ends only by what the network says of it, not by a call that was wrong.
bool EndsConnection(int error, bool was_known) {
  if (!was_known) {
    return error != EINPROGRESS && error != EALREADY && error != EISCONN && error != EINTR;
  }
  return error == ECONNREFUSED || error == ECONNRESET || error == ETIMEDOUT ||
         error == EHOSTUNREACH || error == ENETUNREACH;
}

COLD void OnConnectFailed(int fd, std::uint32_t id, bool was_known) {
  const KeepErrno keep;
  if (EndsConnection(errno, was_known)) descriptors.Close(fd, id);
}

COLD void OnSocketpair(const int* ends, std::uintptr_t caller) {
  for (int i = 0; i < 2; ++i) {
    descriptors.Open(ends[i], /*outbound=*/true, caller, &heap_sampler.stacks());
  }
}

COLD void OnShutdown(std::uint32_t id, int how) {
  ConnectionRecord* record = registry.connections.Open(id);
  if (record == nullptr || !record->implicit.load(std::memory_order_relaxed)) return;
  const char* state = how == SHUT_RD   ? "shut down for reading"
                      : how == SHUT_WR ? "shut down for writing"
                                       : "shut down";
  registry.SetConnectionState(id, state);
}

// `was`: what the descriptor was when the call began; the same still, or somebody closed it
// under us.
COLD void OnDuplicate(int fd, std::uint32_t was, int copy) {
  const KeepErrno keep;
  if (copy >= 0 && descriptors.Look(fd) == was) descriptors.Share(was, copy);
}

// dup2 and dup3 close what `copy` was, in one step with the rest, or fail and close nothing.
template <typename Call>
__attribute__((always_inline)) inline int DuplicateTo(int fd, int copy, const Call& call) {
  const std::uint32_t was = descriptors.Look(fd);
  const std::uint32_t over = descriptors.Look(copy);
  if (was == 0 && over == 0) return call();
  if (fd == copy) return call();
  const std::uint32_t taken = descriptors.Take(copy);
  if (taken != 0) registry.RememberPeer(taken);
  const int result = call();
  const KeepErrno keep;
  if (taken != 0 && result < 0) descriptors.PutBack(copy, taken);
  if (taken != 0 && result >= 0) descriptors.Drop(copy, taken);
  if (was != 0 && result >= 0) OnDuplicate(fd, was, copy);
  return result;
}

// Before the real close: after it the number may be anybody's.
__attribute__((always_inline)) inline void OnClose(int fd) {
  if (descriptors.Look(fd) == 0) return;
  const KeepErrno keep;
  if (const std::uint32_t id = descriptors.Take(fd)) descriptors.Drop(fd, id);
}

// An end of the stream counts as received: what the thread does next is about it.
template <typename Call>
__attribute__((always_inline)) inline auto Receive(int fd, const Call& call) {
  const std::uint32_t id = descriptors.Look(fd);
  if (id == 0) return call();
  const auto got = call();
  return got < 0 ? got : static_cast<decltype(call())>(descriptors.Received(fd, id, got));
}

template <typename Next>
__attribute__((always_inline)) inline int Fcntl(Next next, int fd, int command,
                                                void* argument) {
  if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return next(fd, command, argument);
  const std::uint32_t was = descriptors.Look(fd);
  const int copy = next(fd, command, argument);
  if (was != 0) OnDuplicate(fd, was, copy);
  return copy;
}

}  // namespace

void ResolveSocketCalls() {
  HELDBY_NEXT(accept);
  HELDBY_NEXT(accept4);
  HELDBY_NEXT(connect);
  HELDBY_NEXT(socketpair);
  HELDBY_NEXT(shutdown);
  HELDBY_NEXT(dup);
  HELDBY_NEXT(dup2);
  HELDBY_NEXT(dup3);
  HELDBY_NEXT(fcntl);
  HELDBY_NEXT(fcntl64);
  HELDBY_NEXT(close);
  HELDBY_NEXT(read);
  HELDBY_NEXT(readv);
  HELDBY_NEXT(recv);
  HELDBY_NEXT(recvfrom);
  HELDBY_NEXT(recvmsg);
  HELDBY_NEXT(recvmmsg);
  HELDBY_NEXT(__read_chk);
  HELDBY_NEXT(__recv_chk);
  HELDBY_NEXT(__recvfrom_chk);
}

}  // namespace heldby::core

using namespace heldby::core;  // NOLINT: the entries below are C functions at global scope

HELDBY_HOOK int accept(int fd, sockaddr* __restrict peer, socklen_t* __restrict size) {
  OnAccept();
  const int got = HELDBY_NEXT(accept)(fd, peer, size);
  if (got >= 0 && Watching()) OnAccepted(got, CALLER);
  return got;
}

HELDBY_HOOK int accept4(int fd, sockaddr* __restrict peer, socklen_t* __restrict size,
                        int flags) {
  OnAccept();
  const int got = HELDBY_NEXT(accept4)(fd, peer, size, flags);
  if (got >= 0 && Watching()) OnAccepted(got, CALLER);
  return got;
}

HELDBY_HOOK int connect(int fd, const sockaddr* peer, socklen_t size) {
  if (!Watching()) return HELDBY_NEXT(connect)(fd, peer, size);
  // Before the real call, which may hang: that is when one wants to see it.
  const std::uint32_t known = descriptors.Look(fd);
  const std::uint32_t id = OnConnect(fd, CALLER);
  const int result = HELDBY_NEXT(connect)(fd, peer, size);
  if (id != 0 && result != 0) OnConnectFailed(fd, id, id == known);
  // The kernel has read the address; this one dissolves what there was.
  if (id != 0 && result == 0 && peer->sa_family == AF_UNSPEC) descriptors.Close(fd, id);
  return result;
}

HELDBY_HOOK int socketpair(int domain, int type, int protocol, int ends[2]) __THROW {
  const int result = HELDBY_NEXT(socketpair)(domain, type, protocol, ends);
  if (result == 0 && Watching()) OnSocketpair(ends, CALLER);
  return result;
}

HELDBY_HOOK int shutdown(int fd, int how) __THROW {
  const std::uint32_t id = descriptors.Look(fd);
  const int result = HELDBY_NEXT(shutdown)(fd, how);
  if (id != 0 && result == 0) OnShutdown(id, how);
  return result;
}

HELDBY_HOOK int dup(int fd) __THROW {
  const std::uint32_t was = descriptors.Look(fd);
  const int copy = HELDBY_NEXT(dup)(fd);
  if (was != 0) OnDuplicate(fd, was, copy);
  return copy;
}

HELDBY_HOOK int dup2(int fd, int copy) __THROW {
  return DuplicateTo(fd, copy, [=] { return HELDBY_NEXT(dup2)(fd, copy); });
}

HELDBY_HOOK int dup3(int fd, int copy, int flags) __THROW {
  return DuplicateTo(fd, copy, [=] { return HELDBY_NEXT(dup3)(fd, copy, flags); });
}

// Where there is no third argument, what is handed on in its place is not looked at.
HELDBY_HOOK int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return Fcntl(HELDBY_NEXT(fcntl), fd, command, argument);
}

HELDBY_HOOK int fcntl64(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void* argument = va_arg(rest, void*);
  va_end(rest);
  return Fcntl(HELDBY_NEXT(fcntl64), fd, command, argument);
}

HELDBY_HOOK int close(int fd) {
  OnClose(fd);
  return HELDBY_NEXT(close)(fd);
}

HELDBY_HOOK ssize_t read(int fd, void* buffer, size_t size) {
  return Receive(fd, [=] { return HELDBY_NEXT(read)(fd, buffer, size); });
}

HELDBY_HOOK ssize_t readv(int fd, const iovec* parts, int count) {
  return Receive(fd, [=] { return HELDBY_NEXT(readv)(fd, parts, count); });
}

HELDBY_HOOK ssize_t recv(int fd, void* buffer, size_t size, int flags) {
  return Receive(fd, [=] { return HELDBY_NEXT(recv)(fd, buffer, size, flags); });
}

HELDBY_HOOK ssize_t recvfrom(int fd, void* __restrict buffer, size_t size, int flags,
                             sockaddr* __restrict from, socklen_t* __restrict from_size) {
  return Receive(
      fd, [=] { return HELDBY_NEXT(recvfrom)(fd, buffer, size, flags, from, from_size); });
}

HELDBY_HOOK ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return Receive(fd, [=] { return HELDBY_NEXT(recvmsg)(fd, message, flags); });
}

HELDBY_HOOK int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags,
                         timespec* timeout) {
  return Receive(fd,
                 [=] { return HELDBY_NEXT(recvmmsg)(fd, messages, count, flags, timeout); });
}

HELDBY_HOOK ssize_t __read_chk(int fd, void* buffer, size_t size, size_t room) {
  return Receive(fd, [=] { return HELDBY_NEXT(__read_chk)(fd, buffer, size, room); });
}

HELDBY_HOOK ssize_t __recv_chk(int fd, void* buffer, size_t size, size_t room, int flags) {
  return Receive(fd, [=] { return HELDBY_NEXT(__recv_chk)(fd, buffer, size, room, flags); });
}

HELDBY_HOOK ssize_t __recvfrom_chk(int fd, void* __restrict buffer, size_t size, size_t room,
                                   int flags, sockaddr* __restrict from,
                                   socklen_t* __restrict from_size) {
  return Receive(fd, [=] {
    return HELDBY_NEXT(__recvfrom_chk)(fd, buffer, size, room, flags, from, from_size);
  });
}
