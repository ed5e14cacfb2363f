// The endpoint's side of one connection: whatever arrives, in two pieces, is answered or
// dropped, and the connection ends once the client has sent all it has.
//
// Input: a byte of choices (1 unix socket, 2 a token is asked for, 4 cut late), then the bytes.
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "exporters/http/fork_fds.h"
#include "exporters/http/session.h"
#include "tests/unit/http/sample_profiles.h"

namespace {

using namespace heldby::http;  // NOLINT: a fuzz target is one function

class Host : public SessionHost {
 public:
  explicit Host(bool asks) : access_(asks ? "correct-horse-battery" : "", "extra.example") {}

  const Limits& limits() const override { return limits_; }
  const AccessPolicy& access() const override { return access_; }
  const Router& router() const override { return router_; }
  bool RunOnWorker(bool waits, std::function<void()> work,
                   std::function<void()> done) override {
    if (waits) return false;
    work();
    boost::asio::post(io_, std::move(done));
    return true;
  }
  boost::asio::io_context& io() { return io_; }

 private:
  const Limits limits_;
  const AccessPolicy access_;
  const Router router_{heldby::http::SampleProfiles(), SampleSymbolNames};
  boost::asio::io_context io_{1};
};

// Nothing here waits for anybody: what the loop has not done by now, it never will.
void Run(Host* host, int client, std::string* answers) {
  for (std::size_t done = 1; done != 0;) {
    host->io().restart();
    done = host->io().poll();
    char piece[65536];
    for (ssize_t got = 1; got > 0;) {
      got = ::recv(client, piece, sizeof(piece), MSG_DONTWAIT);
      if (got > 0) answers->append(piece, static_cast<std::size_t>(got));
      if (got > 0) ++done;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return 0;
  Host host((data[0] & 2) != 0);
  const std::size_t cut = bytes.size() * ((data[0] & 4) != 0 ? 3 : 1) / 4;
  std::string answers;
  {
    CloseInForkedChild(ends[0]);
    Session::Socket socket(host.io(), boost::asio::generic::stream_protocol(AF_UNIX, 0),
                           ends[0]);
    const auto session = std::make_shared<Session>(
        host, std::move(socket),
        Channel{.is_unix = (data[0] & 1) != 0, .local_address = "10.1.2.3"});
    session->Start();
    for (const std::string_view piece : {bytes.substr(0, cut), bytes.substr(cut)}) {
      (void)!::send(ends[1], piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      Run(&host, ends[1], &answers);
    }
    ::shutdown(ends[1], SHUT_WR);
    Run(&host, ends[1], &answers);
    if (!session->is_closed()) std::abort();
  }
  ::close(ends[1]);
  if (!answers.empty() && !answers.starts_with("HTTP/1.1 ")) std::abort();
  return 0;
}
