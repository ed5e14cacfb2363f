// What the kernel knows of real sockets, and the words for it.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <regex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collect/socket_state.h"
#include "heldby/connection.h"
#include "heldby/task.h"

namespace heldby {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Fd() { Close(); }
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

struct Pair {
  Fd ours;
  Fd theirs;
  std::string peer;  // theirs, as we see it
};

std::string TextOf(const sockaddr_in& address) {
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

Pair TcpPair() {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener.get(), generic, size), 0);
  EXPECT_EQ(listen(listener.get(), 8), 0);
  EXPECT_EQ(getsockname(listener.get(), generic, &size), 0);
  Fd theirs(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(theirs.get(), generic, size), 0);
  EXPECT_EQ(getsockname(theirs.get(), generic, &size), 0);
  Fd ours(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return {std::move(ours), std::move(theirs), TextOf(address)};
}

std::pair<Fd, Fd> UnixPair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

// As much as the kernel takes.
std::size_t Fill(int fd) {
  const std::string block(65536, 'x');
  std::size_t sent = 0;
  while (sent < (64u << 20)) {
    const ssize_t got = send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (got <= 0) break;
    sent += static_cast<std::size_t>(got);
  }
  return sent;
}

void Wait(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

ConnectionInfo InfoOf(const Connection& connection) {
  const auto all = SnapshotConnections();
  EXPECT_TRUE(all) << all.status().message();
  for (const ConnectionInfo& info : *all) {
    if (info.id == connection.id()) return info;
  }
  ADD_FAILURE() << "it is not in the list";
  return {};
}

TEST(TcpSocket, APeerThatStopsReadingIsNamedWithTimeAndBytes) {
  Pair pair = TcpPair();
  const Connection connection(pair.ours.get(), Direction::kInbound);
  const std::size_t sent = Fill(pair.ours.get());
  EXPECT_EQ(InfoOf(connection).verdict, "") << "a moment is not yet a standstill";
  Wait(2300);
  const ConnectionInfo info = InfoOf(connection);
  EXPECT_TRUE(info.kernel_known);
  EXPECT_EQ(info.peer, pair.peer);
  EXPECT_GT(info.unsent_bytes, 0u);
  EXPECT_LT(info.unsent_bytes, sent);
  EXPECT_EQ(info.verdict, "peer stopped reading for 2 s with " +
                              std::to_string(info.unsent_bytes) + " bytes unsent");
  EXPECT_NEAR(static_cast<double>(info.stalled_ns), 2.3e9, 0.6e9);
}

TEST(TcpSocket, ThatWeDoNotReadIsNamedToo) {
  Pair pair = TcpPair();
  const Connection connection(pair.ours.get(), Direction::kOutbound);
  ASSERT_EQ(send(pair.theirs.get(), "12345", 5, 0), 5);
  Wait(1300);
  const ConnectionInfo info = InfoOf(connection);
  EXPECT_EQ(info.unread_bytes, 5u);
  EXPECT_EQ(info.verdict, "we stopped reading for 1 s with 5 bytes waiting");
  EXPECT_EQ(info.direction, Direction::kOutbound);
}

TEST(TcpSocket, ClosedByThePeerButNotByUsIsNamedAtOnce) {
  Pair pair = TcpPair();
  const Connection connection(pair.ours.get(), Direction::kInbound);
  ASSERT_EQ(send(pair.theirs.get(), "12345", 5, 0), 5);
  pair.theirs.Close();
  Wait(50);
  EXPECT_EQ(InfoOf(connection).verdict, "closed by the peer but not by us, 5 bytes unread");
  char buffer[16];
  ASSERT_EQ(recv(pair.ours.get(), buffer, sizeof(buffer), 0), 5);
  EXPECT_EQ(InfoOf(connection).verdict, "closed by the peer but not by us");
}

TEST(TcpSocket, TheTimeSinceThePeerClosedIsNotTheTimeSinceItSpoke) {
  Pair pair = TcpPair();
  const Connection connection(pair.ours.get(), Direction::kInbound);
  Wait(1500);
  pair.theirs.Close();
  Wait(50);
  EXPECT_LT(InfoOf(connection).stalled_ns, 1'000'000'000);
}

TEST(TcpSocket, NothingToDoIsIdleAndNoStandstill) {
  Pair pair = TcpPair();
  const Connection connection(pair.ours.get(), Direction::kInbound);
  EXPECT_EQ(InfoOf(connection).verdict, "");
  Wait(1300);
  const ConnectionInfo info = InfoOf(connection);
  EXPECT_EQ(info.verdict, "idle for 1 s");
  EXPECT_EQ(info.stalled_ns, 0);
}

TEST(UnixSocket, WhatWaitsOnEitherSideIsNamed) {
  auto [ours, theirs] = UnixPair();
  const Connection connection(ours.get(), Direction::kInbound);
  EXPECT_EQ(InfoOf(connection).peer, "unix");
  EXPECT_EQ(InfoOf(connection).verdict, "");
  ASSERT_EQ(send(theirs.get(), "12345", 5, 0), 5);
  EXPECT_EQ(InfoOf(connection).verdict, "we have not read 5 bytes");
  const std::size_t sent = Fill(ours.get());
  const ConnectionInfo info = InfoOf(connection);
  EXPECT_GE(info.unsent_bytes, sent);
  EXPECT_EQ(info.verdict,
            "peer has not read, " + std::to_string(info.unsent_bytes) + " bytes of buffers");
}

TEST(Descriptor, ThatIsClosedOrAnotherSocketByNowIsNotAsked) {
  Pair pair = TcpPair();
  const int fd = pair.ours.get();
  const Connection connection(fd, Direction::kInbound);
  pair.ours.Close();
  EXPECT_FALSE(InfoOf(connection).kernel_known);
  EXPECT_EQ(InfoOf(connection).verdict, "descriptor closed, or another socket by now");
  Pair other = TcpPair();
  ASSERT_EQ(dup2(other.ours.get(), fd), fd);
  const Fd again(fd);
  Fill(fd);
  const ConnectionInfo info = InfoOf(connection);
  EXPECT_EQ(info.verdict, "descriptor closed, or another socket by now");
  EXPECT_EQ(info.peer, "");
  EXPECT_EQ(info.unsent_bytes, 0u);
}

TEST(Descriptor, ThatWasNoSocketIsNotAskedWhenItHasBecomeOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Connection connection(ends[0], Direction::kInbound);
  EXPECT_EQ(InfoOf(connection).verdict, "descriptor was not a socket");
  Pair pair = TcpPair();
  ASSERT_EQ(dup2(pair.ours.get(), ends[0]), ends[0]);
  EXPECT_EQ(InfoOf(connection).peer, "");
  close(ends[0]);
  close(ends[1]);
}

TEST(Descriptor, ThatIsNotKnownIsNoneAndNothingIsSaid) {
  const Connection connection(-1, Direction::kInbound);
  EXPECT_EQ(InfoOf(connection).fd, -1);
  EXPECT_EQ(InfoOf(connection).verdict, "");
}

TEST(Addresses, AreWrittenAsOneTypesThem) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  v6.sin6_port = htons(80);
  EXPECT_EQ(collect::AddressText(reinterpret_cast<sockaddr*>(&v6), sizeof(v6)), "[::1]:80");
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  std::strcpy(local.sun_path, "/run/app.sock");
  auto* generic = reinterpret_cast<sockaddr*>(&local);
  EXPECT_EQ(collect::AddressText(generic, sizeof(local)), "unix:/run/app.sock");
  EXPECT_EQ(collect::AddressText(generic, sizeof(sa_family_t)), "unix");
  EXPECT_EQ(collect::AddressText(generic, 0), "");
  std::memcpy(local.sun_path, "\0name", 5);
  EXPECT_EQ(collect::AddressText(generic, sizeof(sa_family_t) + 5), "unix:@name");
}

// The figures are those of a path that swallows packets, which no loopback does.
TEST(Verdict, SegmentsThatNobodyAcknowledgesAreADeadPeerOrPath) {
  collect::SocketState socket;
  socket.known = true;
  socket.is_tcp = true;
  socket.tcp_state = 1;
  socket.unacked_segments = 3;
  socket.backoff = 4;
  socket.unsent_bytes = 900;
  socket.notsent_bytes = 500;
  socket.last_ack_received_ms = 12'700;
  socket.last_data_sent_ms = 6000;
  const collect::SocketVerdict verdict = collect::Judge(socket);
  EXPECT_EQ(verdict.text,
            "peer or path dead: no answer for 12 s with 900 bytes unacknowledged");
  EXPECT_EQ(verdict.stalled_ms, 12'700);
}

TEST(Verdict, APeerWithoutRoomThatAnswersWhatIsSentAgainIsNotDead) {
  collect::SocketState socket{};
  socket.known = socket.is_tcp = true;
  socket.tcp_state = 1;
  socket.unacked_segments = 3;
  socket.backoff = 4;
  socket.unsent_bytes = 100'000;
  socket.notsent_bytes = 90'000;
  socket.last_data_sent_ms = 1500;  // sent again, and answered at once: no room
  socket.last_ack_received_ms = 1499;
  EXPECT_EQ(collect::Judge(socket).text,
            "peer stopped reading for 1 s with 100000 bytes unsent");
  socket.last_ack_received_ms = 9000;  // sent again since, and not answered
  EXPECT_EQ(collect::Judge(socket).text,
            "peer or path dead: no answer for 9 s with 100000 bytes unacknowledged");
}

TEST(States, OfALibraryThatIsGoneAreEmptyAndCrashNothing) {
  void* plugin = dlopen(HELDBY_STATE_PLUGIN, RTLD_NOW);
  ASSERT_NE(plugin, nullptr) << dlerror();
  const auto state = reinterpret_cast<const char* (*)()>(dlsym(plugin, "StateOfPlugin"));
  Connection connection(-1, Direction::kInbound);
  Task task(state());
  connection.SetState(state());
  EXPECT_EQ(InfoOf(connection).state, "a state of the plugin");
  ASSERT_EQ(dlclose(plugin), 0);
  EXPECT_EQ(InfoOf(connection).state, "");
  EXPECT_TRUE(SnapshotTasks());
}

}  // namespace
}  // namespace heldby
