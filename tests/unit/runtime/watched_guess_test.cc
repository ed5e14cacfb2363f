// For whom a preloaded program's memory is taken to be held: the connection that the thread
// last received from. Every allocation is a sample, so all figures are exact.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "heldby/heap.h"
#include "heldby/labels.h"
#include "heldby/task.h"
#include "tests/unit/runtime/watched_sockets.h"

extern "C" {
ssize_t __read_chk(int fd, void* buffer, size_t size, size_t room);
ssize_t __recv_chk(int fd, void* buffer, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void* buffer, size_t size, size_t room, int flags,
                       sockaddr* from, socklen_t* from_size);
}

namespace heldby {
namespace {

using watched::Connections;
using watched::FdOf;
using watched::InfoOf;
using watched::Tcp;

constexpr std::size_t kBlock = 100'000;

std::unique_ptr<char[]> Allocate(std::size_t bytes = kBlock) {
  std::unique_ptr<char[]> block(new char[bytes]);
  asm volatile("" : : "r"(block.get()) : "memory");
  return block;
}

// What the connection holds of what this thread allocates now.
std::int64_t ChargedNow(int fd) {
  const std::int64_t before = InfoOf(fd).held_bytes;
  const auto block = Allocate();
  return InfoOf(fd).held_bytes - before;
}
constexpr auto kAll = static_cast<std::int64_t>(kBlock);

void SampleEvery(std::int64_t bytes) {
  EXPECT_TRUE(SetHeapSampleBytes(bytes).ok());
  for (int i = 0; i < 4; ++i) Allocate(1 << 20);
}

std::map<std::string, std::string> LabelsOfBlock(std::size_t bytes) {
  const auto profile = SnapshotHeap({.labels = {.connection = true, .task = true}});
  std::map<std::string, std::string> labels;
  for (const Sample& sample : profile->samples) {
    const auto size = std::ranges::find(sample.labels, "bytes", &Label::key);
    if (size == sample.labels.end() || sample.values[3] == 0) continue;
    const auto got = static_cast<std::size_t>(size->number);
    if (got < bytes || got > bytes + bytes / 8) continue;
    for (const Label& label : sample.labels) {
      labels[label.key] = label.text.empty() ? std::to_string(label.number) : label.text;
    }
  }
  return labels;
}

void Say(int fd, const char* text = "x") { ASSERT_EQ(send(fd, text, 1, 0), 1); }

void Hear(int fd) {
  char byte;
  ASSERT_EQ(recv(fd, &byte, 1, 0), 1);
}

class Guess : public testing::Test {
 protected:
  Guess() { SampleEvery(1); }
  ~Guess() override { EXPECT_TRUE(SetHeapSampleBytes(524288).ok()); }
};

TEST_F(Guess, FollowsWhateverTheThreadLastReceivedFrom) {
  Tcp first;
  Tcp second;
  using Receive = std::function<ssize_t(int)>;
  static char bytes[8];
  iovec part = {bytes, 1};
  const std::pair<const char*, Receive> ways[] = {
      {"read", [](int fd) { return read(fd, bytes, 1); }},
      {"readv", [&](int fd) { return readv(fd, &part, 1); }},
      {"recv", [](int fd) { return recv(fd, bytes, 1, 0); }},
      {"recvfrom", [](int fd) { return recvfrom(fd, bytes, 1, 0, nullptr, nullptr); }},
      {"recvmsg",
       [&](int fd) {
         msghdr message{};
         message.msg_iov = &part;
         message.msg_iovlen = 1;
         return recvmsg(fd, &message, 0);
       }},
      {"recvmmsg",
       [&](int fd) {
         mmsghdr message{};
         message.msg_hdr.msg_iov = &part;
         message.msg_hdr.msg_iovlen = 1;
         return static_cast<ssize_t>(recvmmsg(fd, &message, 1, 0, nullptr));
       }},
      {"__read_chk", [](int fd) { return __read_chk(fd, bytes, 1, sizeof(bytes)); }},
      {"__recv_chk", [](int fd) { return __recv_chk(fd, bytes, 1, sizeof(bytes), 0); }},
      {"__recvfrom_chk", [](int fd) {
         return __recvfrom_chk(fd, bytes, 1, sizeof(bytes), 0, nullptr, nullptr);
       }}};
  for (const auto& [name, receive] : ways) {
    Say(first.theirs);
    Say(second.theirs);
    errno = 1234;
    EXPECT_EQ(receive(first.ours), 1) << name;
    EXPECT_EQ(errno, 1234) << name;
    EXPECT_EQ(ChargedNow(first.ours), kAll) << name;
    EXPECT_EQ(receive(second.ours), 1) << name;
    EXPECT_EQ(ChargedNow(second.ours), kAll) << name;
    EXPECT_EQ(ChargedNow(first.ours), 0) << name;
    fcntl(first.ours, F_SETFL, O_NONBLOCK);
    EXPECT_EQ(receive(first.ours), -1) << name;
    EXPECT_EQ(errno, EAGAIN) << name;
    fcntl(first.ours, F_SETFL, 0);
    EXPECT_EQ(ChargedNow(second.ours), kAll) << name << ": nothing was received";
    EXPECT_EQ(receive(4000), -1) << name;
    EXPECT_EQ(errno, EBADF) << name;
  }
}

TEST_F(Guess, SaysThatItIsOne) {
  Tcp pair;
  Say(pair.theirs);
  Hear(pair.ours);
  const auto block = Allocate(150'001);
  auto labels = LabelsOfBlock(150'001);
  EXPECT_EQ(labels["attribution"], "implicit");
  EXPECT_EQ(labels["direction"], "inbound");
  EXPECT_EQ(labels["peer"], InfoOf(pair.theirs).local);
}

TEST_F(Guess, GivesWayToATaskAndLeavesTheLabels) {
  Tcp pair;
  Say(pair.theirs);
  Hear(pair.ours);
  const ScopedLabels labelled({{"route", "/guess"}});
  {
    const Task task("not for a connection");
    EXPECT_EQ(ChargedNow(pair.ours), 0);
  }
  {
    const Connection known(pair.theirs, Direction::kOutbound);
    const Task task("for the other", {.connection = known.id()});
    EXPECT_EQ(ChargedNow(pair.ours), 0);
    EXPECT_EQ(ChargedNow(pair.theirs), kAll);
    const auto block = Allocate(170'001);
    EXPECT_EQ(LabelsOfBlock(170'001).count("attribution"), 0u);
  }
  EXPECT_EQ(ChargedNow(pair.ours), kAll) << "and is there again";
  const auto block = Allocate(190'001);
  EXPECT_EQ(LabelsOfBlock(190'001)["route"], "/guess");
}

TEST_F(Guess, EndsWithTheConnectionWhoeverClosesIt) {
  Tcp pair;
  Tcp other;
  Say(pair.theirs);
  Hear(pair.ours);
  std::thread([&] {
    close(pair.ours);
    pair.ours = -1;
  }).join();
  const auto block = Allocate(130'001);
  EXPECT_EQ(LabelsOfBlock(130'001)["holder"], "unattributed");
  Say(other.theirs);
  Hear(other.ours);
  const auto kept = Allocate(210'001);
  close(other.ours);
  other.ours = -1;
  const auto later = Allocate(250'001);
  EXPECT_EQ(LabelsOfBlock(210'001)["holder"], "ended");
  EXPECT_EQ(LabelsOfBlock(250'001)["holder"], "unattributed");
}

TEST_F(Guess, BeginsWithAnAcceptAndEndsWhenTheNextIsAskedFor) {
  Tcp pair;
  EXPECT_EQ(ChargedNow(pair.ours), kAll) << "accepted, and nothing received yet";
  fcntl(pair.listener.fd(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(accept(pair.listener.fd(), nullptr, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(ChargedNow(pair.ours), 0);
}

TEST_F(Guess, IsNotMisledForLongByADescriptorThatWasClosedPastUs) {
  Tcp pair;
  char byte;
  const ConnectionId id = InfoOf(pair.ours).id;
  syscall(SYS_close, pair.ours);
  const int file = open("/proc/self/exe", O_RDONLY);
  ASSERT_EQ(file, pair.ours) << "the same number";
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  for (int i = 0; i < 8; ++i) ASSERT_EQ(read(file, &byte, 1), 1);
  const auto block = Allocate(300'001);
  EXPECT_EQ(LabelsOfBlock(300'001)["holder"], "unattributed");
  EXPECT_EQ(FdOf(id), -1);
}

TEST_F(Guess, IsInheritedByAThread) {
  Tcp pair;
  Say(pair.theirs);
  Hear(pair.ours);
  std::int64_t charged = 0;
  std::thread([&] { charged = ChargedNow(pair.ours); }).join();
  EXPECT_EQ(charged, kAll);
}

// ---- What must be as it is without us -------------------------------------------------------

void OnSignal(int) {}

TEST(WrappedCalls, AreInterruptedAsEver) {
  Tcp pair;
  struct sigaction action {};
  action.sa_handler = &OnSignal;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  std::atomic<int> done{0};
  std::thread reader([&] {
    char byte;
    EXPECT_EQ(read(pair.ours, &byte, 1), -1);
    EXPECT_EQ(errno, EINTR);
    done = 1;
    EXPECT_EQ(accept(pair.listener.fd(), nullptr, nullptr), -1);
    EXPECT_EQ(errno, EINTR);
    done = 2;
  });
  while (done != 2) {
    pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  reader.join();
}

TEST(WrappedCalls, AreCancelledAsEver) {
  Tcp pair;
  const ConnectionId id = InfoOf(pair.ours).id;
  for (int way = 0; way < 4; ++way) {
    struct State {
      Tcp* pair;
      int way;
      std::atomic<bool> cleaned{false};
    } state{&pair, way};
    pthread_t thread;
    const auto body = [](void* argument) -> void* {
      auto* mine = static_cast<State*>(argument);
      pthread_cleanup_push([](void* it) { static_cast<State*>(it)->cleaned = true; }, mine);
      char byte;
      if (mine->way == 0) (void)!read(mine->pair->ours, &byte, 1);
      if (mine->way == 1) (void)!recv(mine->pair->ours, &byte, 1, 0);
      if (mine->way == 2) accept(mine->pair->listener.fd(), nullptr, nullptr);
      if (mine->way == 3) (void)!__read_chk(mine->pair->ours, &byte, 1, 1);
      pthread_cleanup_pop(0);
      return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, body, &state), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_EQ(pthread_cancel(thread), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    EXPECT_TRUE(state.cleaned);
  }
  EXPECT_EQ(InfoOf(pair.ours).id, id);
  Say(pair.theirs);
  Hear(pair.ours);
}

std::atomic<int> handled{0};

void OpenAndCloseInHandler(int) {
  const int kept = errno;
  int ends[2];
  char byte = 'h';
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  const int copy = dup(ends[1]);
  if (write(ends[0], &byte, 1) == 1 && read(copy, &byte, 1) == 1) ++handled;
  close(ends[0]);
  close(ends[1]);
  close(copy);
  errno = kept;
}

TEST(WrappedCalls, WorkInASignalHandlerWhereverItStrikes) {
  const std::size_t before = Connections();
  struct sigaction action {};
  action.sa_handler = &OpenAndCloseInHandler;
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGALRM, &action, nullptr), 0);
  const itimerval often = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &often, nullptr);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (handled < 500 && std::chrono::steady_clock::now() < deadline) {
    Tcp pair;
    const int copy = dup(pair.ours);
    Say(pair.theirs);
    Hear(copy);
    Allocate(1000);
    close(copy);
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
  signal(SIGALRM, SIG_DFL);
  EXPECT_GE(handled, 500);
  EXPECT_EQ(Connections(), before);
}

TEST(WrappedCalls, HandArgumentsResultsAndErrorsThrough) {
  Tcp pair;
  errno = 0;
  EXPECT_EQ(close(4000), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(dup(4000), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(fcntl(pair.ours, F_DUPFD, -1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(accept(pair.ours, nullptr, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(socketpair(AF_INET, SOCK_STREAM, 0, nullptr), -1);
  EXPECT_NE(errno, 0);
  const int fd = accept4(pair.listener.fd(), nullptr, nullptr, 0x7fff);
  EXPECT_EQ(fd, -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(fcntl(pair.ours, F_SETOWN, getpid()), 0);
  EXPECT_EQ(fcntl(pair.ours, F_GETOWN), getpid());
  struct flock lock {};
  lock.l_type = F_WRLCK;
  const int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  EXPECT_EQ(fcntl(file, F_SETLK, &lock), 0);
  close(file);
  errno = 4321;
  const int copy = dup(pair.ours);
  const int client = pair.listener.Connect();
  const int server = accept(pair.listener.fd(), nullptr, nullptr);
  for (const int open : {copy, client, server}) EXPECT_EQ(close(open), 0);
  EXPECT_EQ(errno, 4321) << "a call that succeeds leaves it alone";
}

}  // namespace
}  // namespace heldby
