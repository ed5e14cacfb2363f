#include "exporters/http/access.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace heldby::http {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kToken = "correct-horse-battery";

// 0: let through.
int StatusOf(const AccessPolicy& policy, Headers headers, std::string target = "/debug/pprof/",
             bool is_http_1_0 = false, bool is_unix = false) {
  Request request;
  request.target = std::move(target);
  request.headers = std::move(headers);
  const auto refusal = policy.Refuse(
      request, is_http_1_0, {.is_unix = is_unix, .local_address = is_unix ? "" : "10.1.2.3"});
  return refusal ? refusal->status : 0;
}

TEST(AccessPolicy, KnowsLoopbackNamesTheBoundAddressAndExtraHosts) {
  const AccessPolicy policy("", " debug.example.com , Other");
  for (const char* host :
       {"localhost", "LOCALHOST:6060", "localhost.", "app.localhost:1", "127.0.0.1:6060",
        "127.9.9.9", "[::1]:6060", "[::1]", "10.1.2.3:6060", "debug.example.com", "other:80"}) {
    EXPECT_EQ(StatusOf(policy, {{"Host", host}}), 0) << host;
  }
  for (const char* host :
       {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.4",
        "[::2]", "[", "xlocalhost", "example.com", "0.0.0.0", "[::1", "[::1]evil.example",
        "[::1]:evil", "localhost:evil", "localhost:80:evil.example", "user@localhost",
        "127.0.0.1 evil.example", "127.1", "2130706433"}) {
    EXPECT_EQ(StatusOf(policy, {{"Host", host}}), 403) << host;
  }
}

TEST(AccessPolicy, RefusalNamesTheHostAndTheRemedy) {
  Request request;
  request.headers = {{"Host", "evil\x01.example"}};
  request.target = "/debug/pprof/";
  const auto refusal = AccessPolicy("", "").Refuse(request, false, {});
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->body,
            "host \"evil\\x01.example\" is not served here: use a loopback name or the bound "
            "address, or add the name to extra_hosts\n");
}

TEST(AccessPolicy, TheHostHeaderIsNeededOnceExceptInHttp10) {
  const AccessPolicy policy("", "");
  EXPECT_EQ(StatusOf(policy, {}), 400);
  EXPECT_EQ(StatusOf(policy, {}, "/debug/pprof/", /*is_http_1_0=*/true), 0);
  EXPECT_EQ(StatusOf(policy, {{"Host", "localhost"}, {"host", "localhost"}}), 400);
}

TEST(AccessPolicy, AnAbsoluteTargetMustNameAKnownHostToo) {
  const AccessPolicy policy("", "");
  EXPECT_EQ(StatusOf(policy, {{"Host", "localhost"}}, "http://evil.example/debug/pprof/"), 403);
  EXPECT_EQ(StatusOf(policy, {{"Host", "localhost"}}, "http://localhost/debug/pprof/"), 0);
}

TEST(AccessPolicy, AUnixSocketTakesAnyHostButNoOrigin) {
  const AccessPolicy policy("", "");
  EXPECT_EQ(StatusOf(policy, {{"Host", "anything"}}, "/", false, true), 0);
  EXPECT_EQ(StatusOf(policy, {{"Host", "a"}, {"Origin", "http://a"}}, "/", false, true), 403);
}

TEST(AccessPolicy, OnlyItsOwnOriginMayAsk) {
  const AccessPolicy policy("", "");
  EXPECT_EQ(StatusOf(policy, {{"Host", "localhost:1"}, {"Origin", "http://localhost:1"}}), 0);
  for (const char* origin : {"null", "", "http://evil.example", "http://localhost:2",
                             "https://localhost:1", "http://localhost:1.evil.example"}) {
    EXPECT_EQ(StatusOf(policy, {{"Host", "localhost:1"}, {"Origin", origin}}), 403) << origin;
  }
}

TEST(AccessPolicy, AnotherSitesPageMayLinkHereButEmbedNothing) {
  const AccessPolicy policy("", "");
  const auto status = [&policy](const char* site, const char* mode, const char* destination,
                                const char* method = "GET") {
    Request request;
    request.method = method;
    request.target = "/debug/pprof/heap?debug=1";
    request.headers = {{"Host", "127.0.0.1:6060"},
                       {"Sec-Fetch-Site", site},
                       {"Sec-Fetch-Mode", mode},
                       {"Sec-Fetch-Dest", destination}};
    const auto refusal = policy.Refuse(request, false, {});
    return refusal ? refusal->status : 0;
  };
  for (const char* site : {"cross-site", "same-site", "Cross-Site"}) {
    EXPECT_EQ(status(site, "no-cors", "image"), 403) << site;
    EXPECT_EQ(status(site, "no-cors", "script"), 403) << site;
    EXPECT_EQ(status(site, "cors", "empty"), 403) << site;
    EXPECT_EQ(status(site, "navigate", "iframe"), 403) << site;
    EXPECT_EQ(status(site, "navigate", "document", "POST"), 403) << site;
    EXPECT_EQ(status(site, "navigate", "document"), 0) << site << ": a link in a page";
  }
  for (const char* site : {"same-origin", "none"}) {
    EXPECT_EQ(status(site, "no-cors", "image"), 0) << site;
    EXPECT_EQ(status(site, "navigate", "document"), 0) << site;
  }
}

TEST(AccessPolicy, ATokenIsAskedOfEverythingButHealth) {
  const AccessPolicy policy(kToken, "");
  const std::pair<std::string, std::string> host = {"Host", "localhost"};
  const std::string right = std::string("Bearer ") + kToken;
  EXPECT_EQ(StatusOf(policy, {host, {"Authorization", right}}), 0);
  EXPECT_EQ(StatusOf(policy, {host, {"authorization", "bearer  " + right.substr(7)}}), 0);
  EXPECT_EQ(StatusOf(policy, {host}, "/healthz"), 0);
  EXPECT_EQ(StatusOf(policy, {host}), 401);
  EXPECT_EQ(StatusOf(policy, {host}, "/elsewhere"), 401);
  for (const std::string& wrong :
       {std::string("Bearer"), std::string("Bearer "), std::string(kToken), "Basic " + right,
        right + "x", right.substr(0, right.size() - 1), right + kToken}) {
    EXPECT_EQ(StatusOf(policy, {host, {"Authorization", wrong}}), 401) << wrong;
  }
  EXPECT_EQ(StatusOf(policy, {host, {"Authorization", right}, {"Authorization", right}}), 401);
}

TEST(AccessPolicy, A401SaysHowToAuthenticate) {
  Request request;
  request.target = "/debug/pprof/";
  request.headers = {{"Host", "localhost"}};
  const auto refusal = AccessPolicy(kToken, "").Refuse(request, false, {});
  ASSERT_TRUE(refusal);
  bool found = false;
  for (const auto& [name, value] : refusal->headers) {
    found = found || (name == "WWW-Authenticate" && value == "Bearer realm=\"heldby\"");
  }
  EXPECT_TRUE(found);
}

class TokenFile : public testing::Test {
 protected:
  TokenFile() {
    char pattern[] = "/tmp/heldby-token-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    path_ = directory_ + "/token";
  }
  ~TokenFile() override {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }
  void Write(const std::string& text, mode_t mode) {
    std::ofstream(path_) << text;
    ::chmod(path_.c_str(), mode);
  }

  std::string directory_;
  std::string path_;
};

TEST_F(TokenFile, ItsFirstLineIsTheToken) {
  Write(std::string("  ") + kToken + " \r\nsecond line\n", 0600);
  const auto token = ReadTokenFile("token_file", path_);
  ASSERT_TRUE(token) << token.status().message();
  EXPECT_EQ(*token, kToken);
}

TEST_F(TokenFile, RefusesWhatIsNoSecret) {
  for (const mode_t mode : {0640, 0604, 0622, 0644}) {
    Write(kToken, mode);
    const auto token = ReadTokenFile("token_file", path_);
    ASSERT_FALSE(token) << mode;
    EXPECT_EQ(token.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(token.status().message().find(path_), std::string::npos);
    EXPECT_NE(token.status().message().find("group or others"), std::string::npos);
  }
}

TEST_F(TokenFile, RefusesShortAndUnprintableTokens) {
  for (const char* text : {"", "\n", "fifteen-letters\n", "\nsecond-line-is-not-it\n",
                           "has a space in the middle", "has\001a control character"}) {
    Write(text, 0600);
    EXPECT_FALSE(ReadTokenFile("token_file", path_)) << text;
  }
}

TEST_F(TokenFile, ALinkIsFollowedToAFileOfThisUsersAndToNoOther) {
  Write(kToken, 0600);
  const std::string link = directory_ + "/link";
  ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
  EXPECT_TRUE(ReadTokenFile("token_file", link));
  if (::geteuid() == 0) {  // only root can give a file away, and read it then
    ASSERT_EQ(::chown(path_.c_str(), 65534, 65534), 0);
    for (const std::string& path : {path_, link}) {
      const auto token = ReadTokenFile("token_file", path);
      ASSERT_FALSE(token) << path;
      EXPECT_NE(token.status().message().find("belongs to another user"), std::string::npos);
    }
  }
  ::unlink(link.c_str());
}

TEST_F(TokenFile, RefusesALineThatIsTooLongInsteadOfCuttingIt) {
  Write(std::string(4096, 'a') + "\n", 0600);
  const auto longest = ReadTokenFile("token_file", path_);
  ASSERT_TRUE(longest) << longest.status().message();
  EXPECT_EQ(longest->size(), 4096u);
  for (const std::size_t size : {std::size_t{4097}, std::size_t{10} << 20}) {
    Write(std::string(size, 'a'), 0600);
    EXPECT_FALSE(ReadTokenFile("token_file", path_)) << size;
  }
}

TEST_F(TokenFile, RefusesWhatIsNotARegularFile) {
  EXPECT_FALSE(ReadTokenFile("token_file", path_)) << "absent";
  EXPECT_FALSE(ReadTokenFile("token_file", directory_)) << "a directory";
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(ReadTokenFile("token_file", path_))
      << "a FIFO without a writer, and it must not wait for one";
}

}  // namespace
}  // namespace heldby::http
