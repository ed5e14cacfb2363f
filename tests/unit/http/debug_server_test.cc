#include "heldby/debug_server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "tests/unit/http/raw_client.h"

namespace heldby {
namespace {

using http::RawClient;
using http::StatusOf;

TEST(DebugServer, PortZeroGivesAFreePortAndSaysWhich) {
  auto server =
      DebugServer::Start({.listen = "localhost:0", .token_file = "", .extra_hosts = ""});
  ASSERT_TRUE(server) << server.status().message();
  EXPECT_NE(server->port(), 0);
  EXPECT_EQ(server->address(), "http://127.0.0.1:" + std::to_string(server->port()));
  RawClient client(server->port());
  client.Get("/debug/pprof/heap");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
}

TEST(DebugServer, TheBoundAddressIsAnswerableAndAForeignNameIsNot) {
  auto server = DebugServer::Start(
      {.listen = "127.0.0.1:0", .token_file = "", .extra_hosts = "debug.example.com"});
  ASSERT_TRUE(server);
  for (const auto& [host, status] :
       {std::pair{"127.0.0.1", 200}, {"debug.example.com:80", 200}, {"rebound.example", 403}}) {
    RawClient client(server->port());
    client.Send(std::string("GET /healthz HTTP/1.1\r\nHost: ") + host + "\r\n\r\n");
    EXPECT_EQ(StatusOf(client.ReadResponse()), status) << host;
  }
}

TEST(DebugServer, ServesIpv6Loopback) {
  auto server = DebugServer::Start({.listen = "[::1]:0", .token_file = "", .extra_hosts = ""});
  ASSERT_TRUE(server) << server.status().message();
  const std::string url = "http://[::1]:" + std::to_string(server->port());
  EXPECT_EQ(server->address(), url);
  EXPECT_EQ(std::system(("curl -gsf --max-time 10 -o /dev/null " + url + "/healthz").c_str()),
            0);
}

TEST(DebugServer, ServesAUnixSocketAndRemovesItAtStop) {
  const std::string path = "/tmp/heldby-test-" + std::to_string(::getpid()) + ".sock";
  auto server = DebugServer::Start(
      {.listen = "unix:/tmp/heldby-test-%p.sock", .token_file = "", .extra_hosts = ""});
  ASSERT_TRUE(server) << server.status().message();
  EXPECT_EQ(server->port(), 0);
  EXPECT_EQ(server->address(), "unix:" + path);
  RawClient client(path);
  client.Send("GET /debug/pprof/heap HTTP/1.1\r\nHost: whatever\r\n\r\n");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
  server->Stop();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(DebugServer, MovesWithItsSocketAndStopsTwice) {
  auto first =
      DebugServer::Start({.listen = "127.0.0.1:0", .token_file = "", .extra_hosts = ""});
  ASSERT_TRUE(first);
  const std::uint16_t port = first->port();
  DebugServer second = *std::move(first);
  EXPECT_EQ(second.port(), port);
  EXPECT_TRUE(RawClient(port).connected());
  second.Stop();
  second.Stop();
  EXPECT_FALSE(RawClient(port).connected());
  EXPECT_EQ(second.port(), port) << "what it was stays readable";
}

TEST(DebugServer, ReplacingAServerStopsTheOldOne) {
  const DebugServerOptions options{
      .listen = "127.0.0.1:0", .token_file = "", .extra_hosts = ""};
  auto first = DebugServer::Start(options);
  auto second = DebugServer::Start(options);
  ASSERT_TRUE(first && second);
  const std::uint16_t old_port = first->port();
  *first = *std::move(second);
  EXPECT_FALSE(RawClient(old_port).connected());
  EXPECT_TRUE(RawClient(first->port()).connected());
}

TEST(DebugServer, AnAddressOthersCanReachNeedsAToken) {
  ::unsetenv("HELDBY_TOKEN_FILE");
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "10.0.0.1:0"}) {
    const auto server =
        DebugServer::Start({.listen = listen, .token_file = "", .extra_hosts = ""});
    ASSERT_FALSE(server) << listen;
    EXPECT_EQ(server.status().code(), StatusCode::kPermissionDenied);
    EXPECT_NE(server.status().message().find("token_file"), std::string::npos);
    EXPECT_NE(server.status().message().find(listen), std::string::npos);
  }
}

TEST(DebugServer, TakesTheTokenFileFromTheEnvironment) {
  const std::string path = "/tmp/heldby-test-token-" + std::to_string(::getpid());
  std::ofstream(path) << "correct-horse-battery\n";
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(::setenv("HELDBY_TOKEN_FILE", path.c_str(), 1), 0);
  auto server =
      DebugServer::Start({.listen = "0.0.0.0:0", .token_file = "", .extra_hosts = ""});
  ::unsetenv("HELDBY_TOKEN_FILE");
  ::unlink(path.c_str());
  ASSERT_TRUE(server) << server.status().message();
  RawClient stranger(server->port());
  stranger.Get("/debug/pprof/");
  EXPECT_EQ(StatusOf(stranger.ReadResponse()), 401);
  RawClient known(server->port());
  known.Get("/debug/pprof/", "Authorization: Bearer correct-horse-battery\r\n");
  EXPECT_EQ(StatusOf(known.ReadResponse()), 200);
}

TEST(DebugServer, BadOptionsAreRefusedBeforeAnythingIsBound) {
  EXPECT_EQ(DebugServer::Start({.listen = "nonsense", .token_file = "", .extra_hosts = ""})
                .status()
                .code(),
            StatusCode::kInvalidArgument);
  const auto server = DebugServer::Start(
      {.listen = "127.0.0.1:0", .token_file = "/nonexistent/token", .extra_hosts = ""});
  EXPECT_EQ(server.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(server.status().message().find("/nonexistent/token"), std::string::npos);
}

}  // namespace
}  // namespace heldby
