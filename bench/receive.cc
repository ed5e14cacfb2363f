// What a wrapped receive costs, beside the bare one in the same process. To be preloaded.
//
//   receive OPERATIONS CHUNKS            "<ns of a bare recv> <ns of a wrapped one> <ns of a
//                                        bare accept and close> <ns of wrapped ones>"
//   receive OPERATIONS bare|wrapped      nothing: for counting instructions
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using Clock = std::chrono::steady_clock;

struct Calls {
  decltype(&::recv) receive;
  decltype(&::accept) accept;
  decltype(&::connect) connect;
  decltype(&::close) close;
};

const Calls& Wrapped() {
  static const Calls calls = {&::recv, &::accept, &::connect, &::close};
  return calls;
}

const Calls& Bare() {
  static const Calls calls = [] {
    void* libc = dlopen("libc.so.6", RTLD_NOW);
    const auto find = [&](const char* name) { return dlsym(libc, name); };
    return Calls{reinterpret_cast<decltype(&::recv)>(find("recv")),
                 reinterpret_cast<decltype(&::accept)>(find("accept")),
                 reinterpret_cast<decltype(&::connect)>(find("connect")),
                 reinterpret_cast<decltype(&::close)>(find("close"))};
  }();
  return calls;
}

void Check(bool good) {
  if (!good) std::abort();
}

// The byte stays where it is: every call receives, and none waits.
double ReceiveNs(const Calls& calls, int fd, long operations) {
  char byte;
  const auto start = Clock::now();
  for (long i = 0; i < operations; ++i) {
    Check(calls.receive(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
         static_cast<double>(operations);
}

class Listener {
 public:
  Listener() {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    Check(bind(fd_, generic(), size) == 0 && listen(fd_, 8) == 0 &&
          getsockname(fd_, generic(), &size) == 0);
  }

  double AcceptAndCloseNs(const Calls& calls) {
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Check(Bare().connect(client, generic(), sizeof(address_)) == 0);
    const auto start = Clock::now();
    calls.close(calls.accept(fd_, nullptr, nullptr));
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    Bare().close(client);
    return ns;
  }

 private:
  sockaddr* generic() { return reinterpret_cast<sockaddr*>(&address_); }
  const int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address_{};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const long operations = std::atol(argv[1]);
  int ends[2];
  Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Check(send(ends[1], "x", 1, 0) == 1);
  if (std::strcmp(argv[2], "bare") == 0) return ReceiveNs(Bare(), ends[0], operations) < 0;
  if (std::strcmp(argv[2], "wrapped") == 0)
    return ReceiveNs(Wrapped(), ends[0], operations) < 0;
  Listener listener;
  double best[4] = {1e12, 1e12, 1e12, 1e12};
  for (long chunk = 0; chunk < std::atol(argv[2]); ++chunk) {
    best[0] = std::min(best[0], ReceiveNs(Bare(), ends[0], operations));
    best[1] = std::min(best[1], ReceiveNs(Wrapped(), ends[0], operations));
    for (int i = 0; i < 20; ++i) {
      best[2] = std::min(best[2], listener.AcceptAndCloseNs(Bare()));
      best[3] = std::min(best[3], listener.AcceptAndCloseNs(Wrapped()));
    }
  }
  std::printf("%.1f %.1f %.0f %.0f\n", best[0], best[1], best[2], best[3]);
}
