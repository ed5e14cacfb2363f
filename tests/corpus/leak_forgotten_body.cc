// A client that calls another service, reads the head of each response, and on an error status
// returns without reading the body or closing: the socket stays open with its buffers, on both
// sides of it. The other service is in this program: real sockets, as in production.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "heldby/connection.h"
#include "heldby/task.h"
#include "program.h"

namespace {

constexpr std::size_t kHead = 64;

/// Answers every connection with a head and a body, and waits until the client closes.
class Backend {
 public:
  Backend() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0 ||
        listen(listener_, 128) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address_), &size) != 0) {
      std::exit(2);
    }
    thread_ = std::thread([this] { Serve(); });
  }
  ~Backend() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  const sockaddr_in& address() const { return address_; }

 private:
  void Serve() {
    const std::vector<char> response(kHead + 8'000, 'r');
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      (void)!write(fd, response.data(), response.size());
      shutdown(fd, SHUT_WR);
      close(fd);  // the body waits in the client's socket
    }
  }

  int listener_;
  sockaddr_in address_{};
  std::thread thread_;
};

class Call {
 public:
  Call(const sockaddr_in& to, std::size_t buffer_bytes)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        known_(fd_, heldby::Direction::kOutbound) {
    const heldby::Task task("call backend", {.connection = known_.id()});
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) std::exit(2);
    buffer_.resize(buffer_bytes);  // leak
    (void)!recv(fd_, buffer_.data(), kHead, MSG_WAITALL);
    known_.SetState("response body unread");
  }
  ~Call() {
    known_.Forget();
    close(fd_);
  }
  void ReadBody() {
    while (recv(fd_, buffer_.data(), buffer_.size(), 0) > 0) continue;
  }

 private:
  int fd_;
  heldby::Connection known_;
  std::vector<char> buffer_;
};

[[gnu::noinline]] Call* MakeCall(const sockaddr_in& to, std::size_t buffer_bytes) {
  return new Call(to, buffer_bytes);  // leak
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  corpus::Program program(argc, argv);
  {
    Backend backend;
    corpus::Random random = program.Stream(1);
    const double errors = random.Uniform(0.08, 0.2);
    corpus::Pace requests(program, &random, random.Uniform(50, 120));
    while (requests.Next()) {
      Call* call = MakeCall(backend.address(), random.Between(16'000, 64'000));
      corpus::Use(call);
      if (random.Chance(errors)) continue;
      call->ReadBody();
      delete call;
    }
  }
  return program.Done();
}
