// The server over real sockets, one hostile or hasty client at a time.
#include "exporters/http/server.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/http/raw_client.h"
#include "tests/unit/http/sample_profiles.h"
#include "tests/unit/http/served.h"

namespace heldby::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class ServerTest : public Served {
 protected:
  // Retries while the server notices that earlier clients have left.
  int HealthWithin(milliseconds patience) {
    const auto end = steady_clock::now() + patience;
    int status = 0;
    while (status != 200 && steady_clock::now() < end) {
      RawClient client(port_);
      client.Get("/healthz");
      status = StatusOf(client.ReadResponse());
    }
    return status;
  }
};

std::vector<std::string> ThreadNames() {
  std::vector<std::string> names;
  DIR* tasks = ::opendir("/proc/self/task");
  while (const dirent* task = ::readdir(tasks)) {
    std::ifstream file(std::string("/proc/self/task/") + task->d_name + "/comm");
    std::string name;
    if (std::getline(file, name)) names.push_back(name);
  }
  ::closedir(tasks);
  return names;
}

long ThreadsNamed(std::string_view name) {
  const auto names = ThreadNames();
  return std::count(names.begin(), names.end(), name);
}

TEST_F(ServerTest, AnswersSeveralRequestsOnOneConnection) {
  Start();
  RawClient client(port_);
  for (int i = 0; i < 20; ++i) {
    client.Get("/debug/pprof/heap");
    EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  }
  client.Get("/healthz", "Connection: close\r\n");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, AnswersPipelinedRequestsInTheirOrder) {
  Start();
  RawClient client(port_);
  client.Send(
      "GET /debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
      "8\r\n\r\n0x401234"
      "HEAD /debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
      "GET /healthz HTTP/1.0\r\n\r\n");
  const std::string all = client.ReadAll();
  const auto text = all.find("text of 1 samples\n");
  const auto symbol = all.find("0x401234 _ZN4demo13ReadWholeFileEv\n");
  const auto health = all.find("\r\n\r\nok\n");
  ASSERT_NE(text, std::string::npos) << all;
  ASSERT_NE(symbol, std::string::npos) << all;
  ASSERT_NE(health, std::string::npos) << all;
  EXPECT_LT(text, symbol);
  EXPECT_LT(symbol, health);
  EXPECT_EQ(all.find("text of 1 samples\n", text + 1), std::string::npos) << "HEAD had a body";
  EXPECT_TRUE(client.closed()) << "HTTP/1.0 without keep-alive";
}

TEST_F(ServerTest, ClosesAConnectionWhoseHeaderDoesNotComeInTime) {
  Limits limits;
  limits.header_timeout = seconds(1);
  Start(limits);
  RawClient silent(port_);
  RawClient slow(port_);
  const auto start = steady_clock::now();
  std::thread trickle([&] {
    for (const char c : std::string("GET /healthz HTTP/1.1\r\nHost: localhost\r\n")) {
      slow.Send(std::string(1, c));
      std::this_thread::sleep_for(milliseconds(50));
    }
  });
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_TRUE(silent.closed());
  EXPECT_EQ(slow.ReadAll(), "");
  EXPECT_TRUE(slow.closed());
  EXPECT_LT(steady_clock::now() - start, milliseconds(1800));
  trickle.join();
}

TEST_F(ServerTest, RefusesAHeaderAboveItsLimit) {
  Start();
  RawClient fits(port_);
  fits.Get("/healthz", "X: " + std::string(7 * 1024, 'x') + "\r\n");
  EXPECT_EQ(StatusOf(fits.ReadResponse()), 200);
  RawClient big(port_);
  big.Get("/healthz", "X: " + std::string(100 * 1024, 'x') + "\r\n");
  const std::string answer = big.ReadAll();
  EXPECT_EQ(StatusOf(answer), 431) << answer;
  EXPECT_NE(answer.find("request header too large: at most 8192 bytes\n"), std::string::npos);
  EXPECT_TRUE(big.closed());
}

TEST_F(ServerTest, AnswersBytesThatAreNotHttpWith400) {
  Start();
  for (const char* bytes :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n",
        "GET / HTTP/1.1\r\nBad Header: x\r\n\r\n",
        "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    RawClient client(port_);
    client.Send(bytes);
    const std::string answer = client.ReadAll();
    EXPECT_EQ(StatusOf(answer), 400) << bytes << "\n" << answer;
    EXPECT_NE(answer.find("malformed HTTP request: "), std::string::npos) << answer;
  }
}

TEST_F(ServerTest, BoundsTheBodyOfSymbolAndReadsNoOther) {
  Start();
  const std::string head = "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n";
  RawClient fits(port_);
  fits.Send(head + "Content-Length: 1048576\r\n\r\n" + std::string(1048576, '+'));
  EXPECT_EQ(StatusOf(fits.ReadResponse()), 200);
  RawClient declared(port_);
  declared.Send(head + "Content-Length: 1048577\r\n\r\n");
  EXPECT_EQ(StatusOf(declared.ReadResponse()), 413);
  RawClient chunked(port_);
  chunked.Send(head + "Transfer-Encoding: chunked\r\n\r\n180000\r\n" +
               std::string(0x180000, '+'));
  EXPECT_EQ(StatusOf(chunked.ReadResponse()), 413);
}

TEST_F(ServerTest, ABodyNobodyReadsHasNoLimitAndIsNotAwaited) {
  Start();
  const auto status = [this](const std::string& method_and_path, const std::string& host,
                             const std::string& length) {
    RawClient client(port_);
    client.Send(method_and_path + " HTTP/1.1\r\nHost: " + host +
                "\r\nContent-Length: " + length + "\r\n\r\n");
    return StatusOf(client.ReadResponse());
  };
  for (const char* length : {"1000000", "2000000", "9000000000000000000"}) {
    EXPECT_EQ(status("POST /debug/pprof/heap", "localhost", length), 405) << length;
    EXPECT_EQ(status("PUT /debug/pprof/symbol", "localhost", length), 405) << length;
    EXPECT_EQ(status("GET /debug/pprof/heap", "localhost", length), 200) << length;
    EXPECT_EQ(status("GET /nowhere", "localhost", length), 404) << length;
    EXPECT_EQ(status("POST /debug/pprof/symbol", "rebound.example", length), 403) << length;
  }
}

TEST_F(ServerTest, AClientThatExpectsContinueIsToldSo) {
  Start();
  RawClient client(port_);
  client.Send(
      "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 100);
  client.Send("0x401234");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
}

TEST_F(ServerTest, AsksForTheTokenBeforeTheBody) {
  Start({}, "correct-horse-battery");
  for (const char* length : {"1000", "2000000"}) {
    RawClient client(port_);
    client.Send(std::string("POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Length: ") +
                length + "\r\n\r\n");
    EXPECT_EQ(StatusOf(client.ReadResponse()), 401) << length;
  }
  RawClient known(port_);
  known.Get("/debug/pprof/heap", "Authorization: Bearer correct-horse-battery\r\n");
  EXPECT_EQ(StatusOf(known.ReadResponse()), 200);
}

TEST_F(ServerTest, TheNinthRequestAtWorkIsAskedToComeBack) {
  Limits limits;
  limits.waits_at_work = 8;
  Start(limits);
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(std::make_unique<RawClient>(port_));
    waiting.back()->Get("/debug/pprof/heap?seconds=2");
  }
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(ThreadsNamed("heldby-request"), 8);
  RawClient ninth(port_);
  ninth.Get("/debug/pprof/heap");
  const std::string answer = ninth.ReadResponse();
  EXPECT_EQ(StatusOf(answer), 503);
  EXPECT_NE(answer.find("\r\nRetry-After: 1\r\n"), std::string::npos);
  ninth.Get("/healthz");
  EXPECT_EQ(StatusOf(ninth.ReadResponse()), 200) << "liveness needs no worker";
  for (auto& client : waiting) EXPECT_EQ(StatusOf(client->ReadResponse()), 200);
  ninth.Get("/debug/pprof/heap");
  EXPECT_EQ(StatusOf(ninth.ReadResponse()), 200);
}

TEST_F(ServerTest, AnIdleConnectionMakesRoomAndABusyOneDoesNot) {
  Limits limits;
  limits.connections = 2;
  Start(limits);
  RawClient busy(port_);
  busy.Get("/debug/pprof/heap?seconds=2");
  RawClient idle(port_);
  idle.Get("/healthz");
  ASSERT_EQ(StatusOf(idle.ReadResponse()), 200);
  RawClient third(port_);
  third.Get("/debug/pprof/heap?seconds=1");
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_EQ(idle.ReadAll(milliseconds(500)), "");
  EXPECT_TRUE(idle.closed());
  RawClient fourth(port_);
  fourth.Get("/healthz");  // unread bytes at close must not turn the answer into a reset
  const std::string answer = fourth.ReadAll();
  EXPECT_EQ(StatusOf(answer), 503) << answer;
  EXPECT_NE(answer.find("too many connections\n"), std::string::npos);
  EXPECT_EQ(StatusOf(third.ReadResponse()), 200);
  EXPECT_EQ(StatusOf(busy.ReadResponse()), 200);
}

TEST_F(ServerTest, AClientThatLeavesFreesItsWorkerAtOnce) {
  Start();
  {
    RawClient client(port_);
    client.Get("/debug/pprof/heap?seconds=60");
    std::this_thread::sleep_for(milliseconds(200));
    ASSERT_EQ(ThreadsNamed("heldby-request"), 1);
  }
  const auto left = steady_clock::now();
  while (ThreadsNamed("heldby-request") != 0 && steady_clock::now() - left < seconds(5)) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_LT(steady_clock::now() - left, milliseconds(500));
}

TEST_F(ServerTest, StopEndsATimedProfileWithinItsBound) {
  Start();
  RawClient client(port_);
  client.Get("/debug/pprof/heap?seconds=300");
  std::this_thread::sleep_for(milliseconds(200));
  const auto start = steady_clock::now();
  server_->Stop();
  EXPECT_LT(steady_clock::now() - start, milliseconds(500));
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(ThreadsNamed("heldby-request"), 0);
  EXPECT_EQ(ThreadsNamed("heldby-http"), 0);
  server_->Stop();
}

TEST_F(ServerTest, StopAmidTrafficIsPromptAndComplete) {
  Start();
  std::atomic<bool> over{false};
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!over) {
        RawClient client(port_);
        client.Get("/debug/pprof/heap");
        if (StatusOf(client.ReadResponse(seconds(1))) == 200) ++answered;
        client.Get("/debug/pprof/heap?seconds=30");  // and leaves
      }
    });
  }
  while (answered < 100) std::this_thread::sleep_for(milliseconds(1));
  const auto start = steady_clock::now();
  server_->Stop();
  EXPECT_LT(steady_clock::now() - start, seconds(15)) << "a profile of 30 s was waited for";
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(ThreadsNamed("heldby-request"), 0);
}

TEST_F(ServerTest, ItsThreadsBlockEverySignal) {
  Start();
  RawClient client(port_);
  client.Get("/debug/pprof/heap?seconds=1");
  std::this_thread::sleep_for(milliseconds(200));
  DIR* tasks = ::opendir("/proc/self/task");
  int seen = 0;
  while (const dirent* task = ::readdir(tasks)) {
    std::ifstream file(std::string("/proc/self/task/") + task->d_name + "/status");
    std::string line, name, blocked;
    while (std::getline(file, line)) {
      if (line.starts_with("Name:\t")) name = line.substr(6);
      if (line.starts_with("SigBlk:\t")) blocked = line.substr(8);
    }
    if (!name.starts_with("heldby-")) continue;
    ++seen;
    // Signals 9, 19 (never blockable), 32 and 33 (glibc's own) stay open.
    EXPECT_EQ(blocked, "fffffffe7ffbfeff") << name;
  }
  ::closedir(tasks);
  EXPECT_EQ(seen, 2);
}

TEST_F(ServerTest, WritingToAClientThatIsGoneRaisesNoSigpipe) {
  ::signal(SIGPIPE, SIG_DFL);  // a raised one would end this process
  Start();
  for (int i = 0; i < 50; ++i) {
    RawClient client(port_);
    client.Get("/debug/pprof/");
    client.Get("/debug/pprof/");
  }
  EXPECT_EQ(HealthWithin(seconds(2)), 200);
}

TEST_F(ServerTest, EveryDescriptorIsCloseOnExec) {
  Start();
  RawClient client(port_);
  client.Get("/healthz");
  ASSERT_EQ(StatusOf(client.ReadResponse()), 200);
  DIR* descriptors = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(descriptors)) {
    const int fd = std::atoi(entry->d_name);
    if (fd <= 2 || fd == ::dirfd(descriptors)) continue;
    char target[256] = "";
    const std::string link = std::string("/proc/self/fd/") + entry->d_name;
    if (::readlink(link.c_str(), target, sizeof(target) - 1) < 0) continue;
    const std::string_view kind(target);
    if (!kind.starts_with("socket:") && !kind.starts_with("anon_inode:")) continue;
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd << " " << target;
  }
  ::closedir(descriptors);
}

TEST_F(ServerTest, AForkedChildNeitherHangsNorKeepsThePort) {
  Start();
  RawClient client(port_);
  client.Get("/debug/pprof/heap?seconds=1");
  int gate[2];
  ASSERT_EQ(::pipe2(gate, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    ::close(gate[1]);
    server_.reset();
    char byte;
    const ssize_t got = ::read(gate[0], &byte, 1);  // lives until the parent has rebound
    ::_exit(got == 0 ? 0 : 1);
  }
  ::close(gate[0]);
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200) << "the parent serves on";
  server_->Stop();
  auto again = Listener::Open(*ParseListenAddress("127.0.0.1:" + std::to_string(port_)));
  EXPECT_TRUE(again) << again.status().message();
  ::close(gate[1]);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace heldby::http
