#include "exporters/http/listener.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <string>

#include "exporters/http/listen_address.h"
#include "tests/unit/http/raw_client.h"

namespace heldby::http {
namespace {

TEST(ListenAddress, ReadsEveryAcceptedForm) {
  struct Case {
    const char* text;
    const char* host;
    int port;
    bool is_local;
  };
  for (const Case& c :
       {Case{"127.0.0.1:6060", "127.0.0.1", 6060, true},
        Case{"localhost:0", "127.0.0.1", 0, true}, Case{"[::1]:6060", "::1", 6060, true},
        Case{"127.1.2.3:1", "127.1.2.3", 1, true}, Case{"0.0.0.0:80", "0.0.0.0", 80, false},
        Case{"[::]:80", "::", 80, false}, Case{"10.0.0.1:65535", "10.0.0.1", 65535, false}}) {
    const auto address = ParseListenAddress(c.text);
    ASSERT_TRUE(address) << c.text << ": " << address.status().message();
    EXPECT_EQ(address->host, c.host);
    EXPECT_EQ(address->port, c.port);
    EXPECT_EQ(address->IsLocal(), c.is_local) << c.text;
    EXPECT_FALSE(address->is_unix);
  }
}

TEST(ListenAddress, PutsTheProcessIdIntoASocketPath) {
  const auto address = ParseListenAddress("unix:/run/app/%p.sock");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->path, "/run/app/" + std::to_string(::getpid()) + ".sock");
  EXPECT_TRUE(address->IsLocal());
}

TEST(ListenAddress, ErrorsNameOptionValueAndAcceptedForms) {
  for (const std::string& bad :
       {std::string(), std::string("6060"), std::string(":6060"), std::string("example.com:80"),
        std::string("127.0.0.1"), std::string("127.0.0.1:"), std::string("127.0.0.1:65536"),
        std::string("127.0.0.1:-1"), std::string("127.0.0.1:+1"), std::string("127.0.0.1:80x"),
        std::string("::1:6060"), std::string("[127.0.0.1]:6060"), std::string("[localhost]:1"),
        std::string("[fe80::1%eth0]:1"), std::string("*:80"), std::string("unix:"),
        std::string("unix:relative.sock"), std::string("unix:/run/"),
        "unix:/" + std::string(108, 'x')}) {
    const auto address = ParseListenAddress(bad);
    ASSERT_FALSE(address) << bad;
    EXPECT_EQ(address.status().code(), StatusCode::kInvalidArgument);
    const std::string& message = address.status().message();
    EXPECT_TRUE(message.starts_with("listen is \"" + bad + "\": ")) << message;
    EXPECT_NE(message.find("accepted: \"127.0.0.1:6060\""), std::string::npos);
  }
}

TEST(Listener, APortInUseIsUnavailableWithErrnosText) {
  const auto first = Listener::Open(*ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(first);
  const std::string address = "127.0.0.1:" + std::to_string(first->port());
  const auto second = Listener::Open(*ParseListenAddress(address));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(second.status().message(),
            "cannot listen on " + address + ": bind: Address already in use (EADDRINUSE)");
}

TEST(Listener, ListensOnIpv6Loopback) {
  const auto listener = Listener::Open(*ParseListenAddress("[::1]:0"));
  ASSERT_TRUE(listener) << listener.status().message();
  EXPECT_NE(listener->port(), 0);
  EXPECT_EQ(listener->address(), "http://[::1]:" + std::to_string(listener->port()));
}

class UnixListener : public testing::Test {
 protected:
  UnixListener() {
    char pattern[] = "/tmp/heldby-listener-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    path_ = directory_ + "/app.sock";
  }
  ~UnixListener() override {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }
  Result<Listener> Open() { return Listener::Open(*ParseListenAddress("unix:" + path_)); }
  bool Exists() {
    struct stat info {};
    return ::lstat(path_.c_str(), &info) == 0;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(UnixListener, ItsFileIsForTheOwnerAloneAndGoesWithIt) {
  {
    const auto listener = Open();
    ASSERT_TRUE(listener) << listener.status().message();
    EXPECT_EQ(listener->address(), "unix:" + path_);
    EXPECT_EQ(listener->port(), 0);
    struct stat info {};
    ASSERT_EQ(::lstat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_TRUE(RawClient(path_).connected());
  }
  EXPECT_FALSE(Exists());
}

TEST_F(UnixListener, ReplacesTheFileOfADeadProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto listener = Open();
    ::_exit(listener ? 0 : 1);  // without its destructor: as a crash would
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(Exists());
  const auto listener = Open();
  EXPECT_TRUE(listener) << listener.status().message();
  EXPECT_TRUE(RawClient(path_).connected());
}

TEST_F(UnixListener, LeavesALiveSocketAlone) {
  const auto first = Open();
  ASSERT_TRUE(first);
  const auto second = Open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.status().code(), StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find("EADDRINUSE"), std::string::npos);
  EXPECT_TRUE(RawClient(path_).connected());
}

TEST_F(UnixListener, LeavesAFileThatIsNoSocketAlone) {
  std::ofstream(path_) << "precious";
  const auto listener = Open();
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.status().message().find("not a socket"), std::string::npos);
  std::string content;
  std::ifstream(path_) >> content;
  EXPECT_EQ(content, "precious");
}

TEST_F(UnixListener, RefusesADirectoryThatOthersCanWrite) {
  ASSERT_EQ(::chmod(directory_.c_str(), 0777), 0);
  EXPECT_FALSE(Open());
  ASSERT_EQ(::chmod(directory_.c_str(), 01777), 0);
  EXPECT_TRUE(Open()) << "sticky, like /tmp";
}

TEST_F(UnixListener, RefusesADirectoryOfAnotherUserEvenToRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  ASSERT_EQ(::chown(directory_.c_str(), 65534, 65534), 0);
  const auto listener = Open();
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.status().message().find("belongs to another user"), std::string::npos);
}

TEST_F(UnixListener, LeavesALinkAloneWhereverItLeads) {
  const auto elsewhere =
      Listener::Open(*ParseListenAddress("unix:" + directory_ + "/other.sock"));
  ASSERT_TRUE(elsewhere) << elsewhere.status().message();
  for (const std::string& to : {directory_ + "/other.sock", directory_ + "/absent"}) {
    ASSERT_EQ(::symlink(to.c_str(), path_.c_str()), 0);
    const auto listener = Open();
    ASSERT_FALSE(listener) << to;
    EXPECT_NE(listener.status().message().find("not a socket"), std::string::npos);
    ASSERT_EQ(::unlink(path_.c_str()), 0);
  }
}

TEST_F(UnixListener, DoesNotRemoveTheFileOfItsSuccessor) {
  auto first = Open();
  ASSERT_TRUE(first);
  ASSERT_EQ(::unlink(path_.c_str()), 0);
  const auto second = Open();
  ASSERT_TRUE(second) << second.status().message();
  first->Close();
  EXPECT_TRUE(RawClient(path_).connected());
}

TEST_F(UnixListener, AMissingDirectoryIsNamed) {
  const auto listener =
      Listener::Open(*ParseListenAddress("unix:" + directory_ + "/absent/app.sock"));
  ASSERT_FALSE(listener);
  EXPECT_NE(listener.status().message().find("ENOENT"), std::string::npos)
      << listener.status().message();
}

}  // namespace
}  // namespace heldby::http
