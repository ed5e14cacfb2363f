// A client that asks and then never reads, and never closes: a phone in a tunnel, a paused
// player, a debugger stopped at a breakpoint.
//
//   stuck_client --port=8080 [--count=3] [--seconds=60]
//
// Opens `count` connections to 127.0.0.1, sends a GET on each, says so, and sits still until
// the time is up or its standard input is closed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

int AskAndStopReading(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int small = 4096;  // a small window, so that little of the answer hides in the kernel
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  constexpr std::string_view kRequest = "GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n";
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0 ||
      send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0) {
    std::fprintf(stderr, "stuck_client: port %d: %s\n", port, std::strerror(errno));
    std::exit(1);
  }
  return fd;
}

long NumberAfter(std::string_view argument, std::string_view name, long otherwise) {
  return argument.starts_with(name) ? std::atol(argument.data() + name.size()) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  long port = 0;
  long count = 3;
  long seconds = 60;
  for (int i = 1; i < argc; ++i) {
    port = NumberAfter(argv[i], "--port=", port);
    count = NumberAfter(argv[i], "--count=", count);
    seconds = NumberAfter(argv[i], "--seconds=", seconds);
  }
  if (port < 1 || port > 65535 || count < 1 || count > 1000) {
    std::fprintf(stderr,
                 "usage: stuck_client --port=1..65535 [--count=1..1000] [--seconds=N]\n");
    return 2;
  }
  for (long i = 0; i < count; ++i) AskAndStopReading(static_cast<std::uint16_t>(port));
  std::printf("%ld clients connected, asked, and stopped reading\n", count);
  std::fflush(stdout);
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char discarded[256];
  while (poll(&input, 1, static_cast<int>(seconds * 1000)) > 0) {
    if (read(STDIN_FILENO, discarded, sizeof(discarded)) <= 0) break;
  }
}
