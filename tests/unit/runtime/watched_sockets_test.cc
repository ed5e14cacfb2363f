// Sockets of a preloaded program that makes none of them known: which connections it has, when
// they end, and that every call does what it does without us.
#include "tests/unit/runtime/watched_sockets.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "heldby/debug_server.h"

namespace heldby {
namespace {

using watched::Connections;
using watched::FdOf;
using watched::InfoOf;
using watched::Listener;
using watched::Tcp;

// The address of a call in it is what the page names.
__attribute__((noinline)) int AcceptHere(int listener) {
  const int fd = accept(listener, nullptr, nullptr);
  asm volatile("" : : : "memory");
  return fd;
}

TEST(WatchedSockets, AnAcceptedOneHasItsPeerAndTheCodeThatAcceptedIt) {
  Listener listener;
  const int client = listener.Connect();
  const int fd = AcceptHere(listener.fd());
  const ConnectionInfo info = InfoOf(fd);
  EXPECT_EQ(info.direction, Direction::kInbound);
  EXPECT_TRUE(info.implicit);
  EXPECT_TRUE(info.kernel_known);
  EXPECT_EQ(info.peer, InfoOf(client).local);
  ASSERT_FALSE(info.opened_by.empty());
  const auto begin = reinterpret_cast<std::uintptr_t>(&AcceptHere);
  EXPECT_GT(info.opened_by[0], begin);
  EXPECT_LT(info.opened_by[0], begin + 64);
  close(fd);
  close(client);
  EXPECT_EQ(Connections(), 0u);
}

TEST(WatchedSockets, AConnectIsOneOutboundConnectionHoweverOftenItIsAsked) {
  Listener listener;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  EXPECT_EQ(Connections(), 0u);
  const int first = listener.ConnectWith(fd);
  EXPECT_TRUE(first == 0 || errno == EINPROGRESS) << errno;
  const ConnectionInfo info = InfoOf(fd);
  EXPECT_EQ(info.direction, Direction::kOutbound);
  for (int i = 0; i < 3; ++i) listener.ConnectWith(fd);
  EXPECT_EQ(InfoOf(fd).id, info.id);
  EXPECT_EQ(Connections(), 1u);
  close(fd);
  EXPECT_EQ(Connections(), 0u);
}

TEST(WatchedSockets, AConnectThatFailsLeavesNothing) {
  sockaddr_in nobody{};
  {
    const Listener gone;
    nobody = gone.address();
  }
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  errno = 0;
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&nobody), sizeof(nobody)), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(1), sizeof(nobody)), -1);
  EXPECT_EQ(errno, EFAULT) << "the address is the kernel's to read";
  EXPECT_EQ(Connections(), 0u);
  close(fd);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&nobody), sizeof(nobody)), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(WatchedSockets, DatagramsAndPipesAndFilesAreNoConnections) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(9);
  const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(udp, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const int copy = dup(pipe_ends[0]);
  EXPECT_EQ(Connections(), 0u);
  for (const int fd : {udp, ends[0], ends[1], pipe_ends[0], pipe_ends[1], copy}) close(fd);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_EQ(Connections(), 2u);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(Connections(), 0u);
}

TEST(WatchedSockets, DuplicatesAreOneConnectionUntilTheLastOfThemIsClosed) {
  Tcp pair;
  const ConnectionInfo info = InfoOf(pair.ours);
  const int copies[] = {dup(pair.ours), fcntl(pair.ours, F_DUPFD, 100),
                        fcntl(pair.ours, F_DUPFD_CLOEXEC, 200), dup2(pair.ours, 300),
                        dup3(pair.ours, 301, O_CLOEXEC)};
  EXPECT_EQ(copies[1], 100);
  EXPECT_EQ(fcntl(copies[2], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(dup2(pair.ours, pair.ours), pair.ours);
  close(pair.ours);
  for (const int copy : copies) {
    const auto fd = FdOf(info.id);
    ASSERT_GE(fd, 0) << "gone before " << copy << " was closed";
    EXPECT_TRUE(InfoOf(fd).kernel_known) << "a descriptor that still is the socket";
    close(copy);
  }
  EXPECT_EQ(FdOf(info.id), -1);
}

TEST(WatchedSockets, Dup2OverAnOpenOneEndsThatOneUnlessItFails) {
  Tcp kept;
  Tcp covered;
  const ConnectionId covered_id = InfoOf(covered.ours).id;
  errno = 0;
  EXPECT_EQ(dup2(4000, covered.ours), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(dup3(kept.ours, kept.ours, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(InfoOf(covered.ours).id, covered_id);
  EXPECT_EQ(dup2(kept.ours, covered.ours), covered.ours);
  EXPECT_EQ(FdOf(covered_id), -1);
  const ConnectionId kept_id = InfoOf(kept.ours).id;
  close(kept.ours);
  EXPECT_EQ(FdOf(kept_id), covered.ours);
  kept.ours = -1;
}

TEST(WatchedSockets, ANumberThatIsUsedAgainIsAnotherConnection) {
  for (int i = 0; i < 1000; ++i) {
    Tcp pair;
    const ConnectionInfo info = InfoOf(pair.ours);
    EXPECT_TRUE(info.kernel_known);
    EXPECT_EQ(info.peer, InfoOf(pair.theirs).local);
    if (i % 2 == 0) continue;
    // Closed past us, and opened again.
    syscall(SYS_close, pair.ours);
    const int again = pair.AcceptAnother();
    EXPECT_EQ(again, pair.ours);
    EXPECT_NE(InfoOf(again).id, info.id);
    EXPECT_EQ(FdOf(info.id), -1) << "the old one ends when its number is opened again";
  }
  EXPECT_EQ(Connections(), 0u);
}

TEST(WatchedSockets, WhatIsClosedPastUsIsGoneWhenSomebodyLooks) {
  Tcp pair;
  ASSERT_EQ(syscall(SYS_close_range, pair.ours, pair.ours, 0), 0);
  EXPECT_EQ(Connections(), 1u) << "theirs";
  const int copy = dup(pair.theirs);
  syscall(SYS_close, pair.theirs);
  EXPECT_EQ(InfoOf(copy).fd, copy) << "the duplicate still is the socket";
  close(copy);
  pair.ours = pair.theirs = -1;
  EXPECT_EQ(Connections(), 0u);
}

TEST(WatchedSockets, AShutdownIsAState) {
  Tcp pair;
  shutdown(pair.ours, SHUT_WR);
  EXPECT_EQ(InfoOf(pair.ours).state, "shut down for writing");
  shutdown(pair.ours, SHUT_RDWR);
  EXPECT_EQ(InfoOf(pair.ours).state, "shut down");
  errno = 0;
  EXPECT_EQ(shutdown(4000, SHUT_RDWR), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST(WatchedSockets, ConnectionTakesTheOneOverThatWasSeen) {
  Tcp pair;
  const ConnectionId seen = InfoOf(pair.ours).id;
  {
    const Connection known(pair.ours, Direction::kInbound);
    EXPECT_EQ(known.id(), seen);
    EXPECT_FALSE(InfoOf(pair.ours).implicit);
    EXPECT_EQ(Connections(), 2u) << "no second row";
  }
  EXPECT_EQ(FdOf(seen), -1) << "its owner has ended it";
  const Connection again(pair.ours, Direction::kInbound);
  EXPECT_NE(again.id(), seen);
  const ConnectionInfo info = InfoOf(pair.ours);
  close(pair.ours);
  pair.ours = -1;
  EXPECT_EQ(FdOf(again.id()), info.fd) << "and only its owner ends it";
}

TEST(WatchedSockets, AForkedChildBeginsWithNoneAndSeesItsOwn) {
  Listener listener;
  Tcp pair;
  const ConnectionId id = InfoOf(pair.ours).id;
  const pid_t child = fork();
  if (child == 0) {
    const bool none = Connections() == 0;
    close(pair.ours);  // the child's copy
    const int client = listener.Connect();
    const int fd = accept(listener.fd(), nullptr, nullptr);
    _exit(none && Connections() == 2 && FdOf(InfoOf(fd).id) == fd && client >= 0 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(InfoOf(pair.ours).id, id);
}

TEST(WatchedSockets, AVforkedChildClosesItsCopiesAndNotOurConnections) {
  Tcp pair;
  const ConnectionId id = InfoOf(pair.ours).id;
  const pid_t child = vfork();  // NOLINT: what is tested
  if (child == 0) {
    dup2(pair.theirs, pair.ours);
    close(pair.ours);
    _exit(close(pair.theirs));
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(InfoOf(pair.ours).id, id);
  EXPECT_EQ(Connections(), 2u);
}

TEST(WatchedSockets, WhatAVforkedChildOpensUnderANumberOfOursEndsNothing) {
  Tcp pair;
  const ConnectionId id = InfoOf(pair.ours).id;
  const Listener other;
  const sockaddr_in address = other.address();
  const pid_t child = vfork();  // NOLINT: what is tested
  if (child == 0) {
    close(pair.ours);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);  // the number that has become free
    connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    _exit(fd == pair.ours ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(InfoOf(pair.ours).id, id);
  EXPECT_EQ(Connections(), 2u);
}

TEST(WatchedSockets, AWrongConnectEndsNoConnectionThatWorks) {
  Tcp pair;
  errno = 0;
  EXPECT_EQ(connect(pair.ours, nullptr, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Connections(), 2u);
}

TEST(WatchedSockets, TheEndpointsOwnAreNotAmongThem) {
  auto server = DebugServer::Start({.listen = "127.0.0.1:0"});
  ASSERT_TRUE(server) << server.status().message();
  const int fd = watched::ConnectTo(server->port());
  const std::string request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  ASSERT_EQ(send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  char answer[64];
  ASSERT_GT(recv(fd, answer, sizeof(answer), 0), 0);
  EXPECT_EQ(Connections(), 1u) << "ours to it, and not its own";
  close(fd);
}

TEST(WatchedSockets, ManyThreadsLeaveExactlyWhatIsOpen) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 3000; ++i) {
        int ends[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        const int copy = dup(ends[i % 2]);
        char byte = 'x';
        ASSERT_EQ(write(ends[0], &byte, 1), 1);
        ASSERT_EQ(read(ends[1], &byte, 1), 1);
        close(ends[0]);
        if (i % 3 == 0) dup2(ends[1], copy);
        close(ends[1]);
        close(copy);
      }
    });
  }
  std::thread reader([] {
    for (int i = 0; i < 300; ++i) Connections();
  });
  for (std::thread& thread : threads) thread.join();
  reader.join();
  EXPECT_EQ(Connections(), 0u);
}

}  // namespace
}  // namespace heldby
