// What the server decides by a request's head alone, over real sockets.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/http/raw_client.h"
#include "tests/unit/http/served.h"

namespace heldby::http {
namespace {

class Heads : public Served {};

TEST_F(Heads, ALinkFromAnotherSiteShowsAPageAndSetsNothingOff) {
  Start();
  const auto status = [this](const std::string& target, const std::string& site) {
    RawClient client(port_);
    client.Get(target, "Sec-Fetch-Site: " + site +
                           "\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n");
    return StatusOf(client.ReadResponse());
  };
  for (const char* target :
       {"/debug/pprof/profile", "/debug/pprof/profile?seconds=300", "/debug/fgprof",
        "/debug/pprof/trace", "/debug/pprof/heap?seconds=300", "/debug/pprof/%74race",
        "/debug/pprof/heap?s%65conds=300", "/debug/pprof/delta_heap",
        "http://127.0.0.1/debug/pprof/delta_mutex"}) {
    EXPECT_EQ(status(target, "cross-site"), 403) << target;
    EXPECT_EQ(status(target, "same-site"), 403) << target;
  }
  EXPECT_EQ(status("/debug/pprof/heap?debug=1", "cross-site"), 200);
  EXPECT_EQ(status("/debug/pprof/heap?seconds=1", "none"), 200) << "typed by the user";
  EXPECT_EQ(status("/debug/pprof/heap?seconds=1", "same-origin"), 200);
}

TEST_F(Heads, ABodyWithoutAKnownEndIsNeverTakenForTheNextRequest) {
  Start();
  const std::string smuggled = "GET /debug/pprof/cmdline HTTP/1.1\r\nHost: localhost\r\n\r\n";
  for (const char* head :
       {"1.1\r\nTransfer-Encoding: gzip", "1.1\r\nTransfer-Encoding: xchunked",
        "1.1\r\nTransfer-Encoding: chunked, gzip", "1.1\r\nTransfer-Encoding: \"chunked\"",
        "1.1\r\nTransfer-Encoding:", "1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 0",
        "1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked"}) {
    for (const char* line : {"POST /debug/pprof/symbol", "GET /debug/pprof/heap",
                             "POST /healthz", "POST /nowhere"}) {
      RawClient client(port_);
      client.Send(std::string(line) + " HTTP/" + head + "\r\nHost: localhost\r\n\r\n" +
                  smuggled);
      const std::string answer = client.ReadAll();
      EXPECT_EQ(StatusOf(answer), 400) << line << head << answer;
      EXPECT_EQ(answer.find("HTTP/1.1 ", 1), answer.npos) << line << head << answer;
      EXPECT_TRUE(client.closed()) << line << head;
    }
  }
}

TEST_F(Heads, AnHttp10ClientIsNotToldToContinue) {
  Start();
  RawClient client(port_);
  client.Send(
      "POST /debug/pprof/symbol HTTP/1.0\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n"
      "0x401234");
  EXPECT_EQ(StatusOf(client.ReadResponse()), 200);
}

}  // namespace
}  // namespace heldby::http
