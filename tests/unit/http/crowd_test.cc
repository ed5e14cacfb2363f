// More clients than there is room for: who gives way, and who is served all the same.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "exporters/http/request_counts.h"
#include "exporters/http/server.h"
#include "tests/unit/http/raw_client.h"
#include "tests/unit/http/sample_profiles.h"
#include "tests/unit/http/served.h"

namespace heldby::http {
namespace {

using std::chrono::seconds;
using Clients = std::vector<std::unique_ptr<RawClient>>;

constexpr seconds kPatience(30);

Result<std::string> LargeText(const Profile&) {
  return std::string(std::size_t{24} << 20, 'x');
}
Result<Profile> TakeAndThrow(const TakeOptions&) { throw 42; }

std::span<const ProfileEntry> CrowdProfiles() {
  static const std::array<ProfileEntry, 3> kEntries = {{
      {"heap", "The sample heap.", TakeSampleHeap, [] { return std::size_t{1}; }, SampleText},
      {"large", "Its text is large.", TakeSampleHeap, [] { return std::size_t{1}; }, LargeText},
      {"throws", "Throws no exception of std.", TakeAndThrow, [] { return std::size_t{1}; },
       SampleText},
  }};
  return kEntries;
}

class Crowd : public Served {
 protected:
  Crowd() : Served(CrowdProfiles()) {}

  std::unique_ptr<RawClient> Connect() { return std::make_unique<RawClient>(port_); }
  int Ask(const std::string& target) {
    RawClient client(port_);
    client.Get(target, "Connection: close\r\n");
    return StatusOf(client.ReadResponse(kPatience));
  }
};

TEST_F(Crowd, AHalfSentRequestGivesWayToAWholeOne) {
  Limits limits;
  limits.header_timeout = kPatience;
  limits.body_timeout = kPatience;
  Start(limits);
  Clients slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(Connect());
    slow.back()->Send(i % 2 == 0 ? "GET /debug/pprof/heap HTTP/1.1\r\nHost: loc"
                                 : "POST /debug/pprof/symbol HTTP/1.1\r\nHost: localhost\r\n"
                                   "Content-Length: 1000\r\n\r\n0x1");
  }
  const double before = ProcessRequestCounts().DroppedConnections().samples[0].value;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask("/debug/pprof/heap"), 200) << i;
  EXPECT_GT(ProcessRequestCounts().DroppedConnections().samples[0].value, before);
}

TEST_F(Crowd, AConnectionThatSaysNothingGivesWayToAWholeRequest) {
  Limits limits;
  limits.header_timeout = kPatience;
  Start(limits);
  Clients silent;
  for (int i = 0; i < 100; ++i) silent.push_back(Connect());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask("/debug/pprof/heap"), 200) << i;
}

TEST_F(Crowd, AClientThatDoesNotReadGivesWayAfterItsGrace) {
  Limits limits;
  limits.connections = 2;
  limits.write_timeout = kPatience;
  limits.write_grace = seconds(0);
  Start(limits);
  Clients deaf;
  for (int i = 0; i < 2; ++i) {
    deaf.push_back(Connect());
    deaf.back()->Get("/debug/pprof/large?debug=1");
    ASSERT_TRUE(deaf.back()->HasAnswer(kPatience));
  }
  EXPECT_EQ(Ask("/debug/pprof/heap"), 200);
}

TEST_F(Crowd, RequestsThatWaitLeaveRoomForThoseThatDoNot) {
  Start();
  Clients waiting;
  for (int i = 0; i < 6; ++i) {
    waiting.push_back(Connect());
    waiting.back()->Get("/debug/pprof/heap?seconds=300");
  }
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::string answer;  // until the six have arrived, it is one of those that wait
  while (StatusOf(answer) != 503 && std::chrono::steady_clock::now() < end) {
    RawClient seventh(port_);
    seventh.Get("/debug/pprof/heap?seconds=1");
    answer = seventh.ReadResponse(kPatience);
  }
  EXPECT_EQ(StatusOf(answer), 503);
  EXPECT_NE(answer.find("\r\nRetry-After: 1\r\n"), std::string::npos);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask("/debug/pprof/heap"), 200) << i;
  waiting.clear();
  int status = 0;  // their places are free again as soon as they are missed
  while (status != 200 && std::chrono::steady_clock::now() < end) {
    status = Ask("/debug/pprof/heap?seconds=1");
  }
  EXPECT_EQ(status, 200);
}

TEST_F(Crowd, AnExceptionOfAnyTypeCostsOneAnswerAndNoWorker) {
  Start();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(Ask("/debug/pprof/throws"), 500) << i;
  EXPECT_EQ(Ask("/debug/pprof/heap"), 200);
}

}  // namespace
}  // namespace heldby::http
