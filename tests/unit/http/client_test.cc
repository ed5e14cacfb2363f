// The programs people really use: curl and `go tool pprof`.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "exporters/http/listen_address.h"
#include "exporters/http/server.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {
namespace {

struct Output {
  int exit_code = -1;
  std::string text;
};

Output Shell(const std::string& command) {
  Output output;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.text.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

class Clients : public testing::Test {
 protected:
  Clients() {
    char pattern[] = "/tmp/heldby-clients-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    tcp_ = Serve("127.0.0.1:0");
    unix_ = Serve("unix:" + directory_ + "/app.sock");
  }
  ~Clients() override {
    tcp_.reset();
    unix_.reset();
    Shell("rm -rf " + directory_);
  }

  std::unique_ptr<Server> Serve(const std::string& listen) {
    auto listener = Listener::Open(*ParseListenAddress(listen));
    if (!listener) return nullptr;
    if (listener->port() != 0) url_ = listener->address();
    auto server = Server::Start(*std::move(listener), AccessPolicy("", ""),
                                Router(SampleProfiles(), SampleSymbolNames));
    return server ? *std::move(server) : nullptr;
  }
  Output Pprof(const std::string& arguments) {
    return Shell("HOME=" + directory_ + " PPROF_TMPDIR=" + directory_ + " go tool pprof " +
                 arguments);
  }

  std::string directory_;
  std::string url_;
  std::unique_ptr<Server> tcp_;
  std::unique_ptr<Server> unix_;
};

TEST_F(Clients, GoToolPprofReadsTheHeap) {
  g_sample_heap_bytes = 4096;
  const Output raw = Pprof("-raw " + url_ + "/debug/pprof/heap");
  EXPECT_EQ(raw.exit_code, 0) << raw.text;
  EXPECT_NE(raw.text.find("1       4096          1       4096: 1"), std::string::npos)
      << raw.text;
  EXPECT_NE(raw.text.find("ReadWholeFile"), std::string::npos) << raw.text;
  EXPECT_NE(raw.text.find("/srv/bin/downloads abcdef0123456789"), std::string::npos)
      << raw.text;
}

TEST_F(Clients, GoToolPprofTakesADeltaWithSeconds) {
  const Output raw = Pprof("-raw -seconds 1 " + url_ + "/debug/pprof/heap");
  EXPECT_EQ(raw.exit_code, 0) << raw.text;
  EXPECT_NE(raw.text.find("Duration: 1"), std::string::npos) << raw.text;
}

TEST_F(Clients, GoToolPprofTakesTheCpuProfileOfABareAddress) {
  const Output raw = Pprof("-raw -seconds 1 " + url_.substr(7));
  EXPECT_EQ(raw.exit_code, 0) << raw.text;
  EXPECT_NE(raw.text.find("samples/count cpu/nanoseconds"), std::string::npos) << raw.text;
}

TEST_F(Clients, GoToolPprofShowsTheTextOfAnError) {
  const Output output = Pprof("-raw " + url_ + "/debug/pprof/nope");
  EXPECT_NE(output.exit_code, 0);
  EXPECT_NE(output.text.find("Unknown profile"), std::string::npos) << output.text;
}

TEST_F(Clients, CurlReadsTheIndexOverAUnixSocket) {
  const Output index = Shell("curl -sf --max-time 10 --unix-socket " + directory_ +
                             "/app.sock http://app/debug/pprof/");
  EXPECT_EQ(index.exit_code, 0) << index.text;
  EXPECT_NE(index.text.find("<a href='heap?debug=1'>heap</a>"), std::string::npos);
}

TEST_F(Clients, CurlFollowsTheRedirectToTheIndex) {
  const Output code =
      Shell("curl -sL --max-time 10 -o /dev/null -w '%{http_code} %{url_effective}' " + url_ +
            "/debug/pprof");
  EXPECT_EQ(code.text, "200 " + url_ + "/debug/pprof/");
}

TEST_F(Clients, CurlPostsALargeBodyWithoutWaiting) {
  const std::string post =
      "curl -s --max-time 10 -w '%{http_code} %{time_total}' -o /dev/null "
      "-H 'Expect: 100-continue' --data-binary @" +
      directory_ + "/body " + url_ + "/debug/pprof/symbol";
  ASSERT_EQ(Shell("head -c 1048576 /dev/zero > " + directory_ + "/body").exit_code, 0);
  const Output fits = Shell(post);
  EXPECT_TRUE(fits.text.starts_with("200 0.")) << fits.text;
  ASSERT_EQ(Shell("head -c 3000000 /dev/zero > " + directory_ + "/body").exit_code, 0);
  const Output large = Shell(post);
  EXPECT_TRUE(large.text.starts_with("413 0.")) << large.text;
}

TEST_F(Clients, CurlSeesTheSameHeadersForHead) {
  const Output head = Shell("curl -sI --max-time 10 " + url_ + "/debug/pprof/heap?debug=1");
  EXPECT_NE(head.text.find("HTTP/1.1 200 OK"), std::string::npos);
  EXPECT_NE(head.text.find("Content-Length: 18"), std::string::npos) << head.text;
}

TEST_F(Clients, ABrowserPageOfAnotherOriginIsRefused) {
  const Output code = Shell(
      "curl -s --max-time 10 -o /dev/null -w '%{http_code}' "
      "-H 'Origin: http://evil.example' " +
      url_ + "/debug/pprof/heap");
  EXPECT_EQ(code.text, "403");
  const Output headers = Shell("curl -si --max-time 10 " + url_ + "/debug/pprof/");
  EXPECT_EQ(headers.text.find("Access-Control"), std::string::npos);
}

}  // namespace
}  // namespace heldby::http
