// How late a server answers: one request at a time so that nothing queues.
//
//   latency_client ADDRESS SECONDS < REQUEST     ADDRESS: PORT of 127.0.0.1, or a unix socket
//
// Every reply must be as long as the first one, which ends when nothing has come for 200 ms. A
// server that ends its connections is given a new one for each request, before the clock
// starts. Prints "<requests> <microseconds that 99 of 100 are answered within>".
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void End(const char* what) {
  std::perror(what);
  std::exit(1);
}

int Connected(const std::string& address) {
  const bool is_port = address.find_first_not_of("0123456789") == std::string::npos;
  const int fd = socket(is_port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) End("latency_client: socket");
  int status;
  if (is_port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str())));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    status = connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  } else {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (address.size() >= sizeof(to.sun_path)) {
      errno = ENAMETOOLONG;
      End("latency_client: unix socket");
    }
    std::memcpy(to.sun_path, address.data(), address.size());
    status = connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  }
  if (status != 0) End("latency_client: connect");
  return fd;
}

void Send(int fd, std::string_view request) {
  while (!request.empty()) {
    const ssize_t sent = write(fd, request.data(), request.size());
    if (sent <= 0) End("latency_client: write");
    request.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// 0: the server has closed the connection.
std::size_t Receive(int fd, std::size_t most) {
  static char buffer[1 << 16];
  const ssize_t got = read(fd, buffer, std::min(most, sizeof(buffer)));
  if (got < 0) End("latency_client: read");
  return static_cast<std::size_t>(got);
}

struct Reply {
  std::size_t length = 0;
  bool closes = false;  // the server ends the connection after it
};

Reply FirstReply(const std::string& address, std::string_view request) {
  const int fd = Connected(address);
  Send(fd, request);
  Reply reply;
  pollfd one{fd, POLLIN, 0};
  while (!reply.closes && poll(&one, 1, reply.length == 0 ? 10'000 : 200) > 0) {
    const std::size_t got = Receive(fd, SIZE_MAX);
    reply.length += got;
    reply.closes = got == 0;
  }
  close(fd);
  return reply;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc == 3 ? std::atof(argv[2]) : 0;
  if (seconds <= 0) {
    std::fprintf(stderr, "usage: latency_client ADDRESS SECONDS < REQUEST\n");
    return 2;
  }
  std::string request;
  for (int c; (c = std::getchar()) != EOF;) request.push_back(static_cast<char>(c));
  const Reply reply = FirstReply(argv[1], request);
  int fd = Connected(argv[1]);
  std::vector<double> took_us;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  for (auto start = Clock::now(); start < end;) {
    Send(fd, request);
    for (std::size_t got = 0; got < reply.length;) {
      const std::size_t more = Receive(fd, reply.length - got);
      if (more == 0) {
        std::fprintf(stderr, "latency_client: the server has closed the connection\n");
        return 1;
      }
      got += more;
    }
    const auto now = Clock::now();
    took_us.push_back(std::chrono::duration<double, std::micro>(now - start).count());
    if (reply.closes) {
      close(fd);
      fd = Connected(argv[1]);
    }
    start = Clock::now();
  }
  close(fd);
  const auto place = took_us.begin() + static_cast<std::ptrdiff_t>(took_us.size() * 99 / 100);
  std::nth_element(took_us.begin(), place, took_us.end());
  std::printf("%zu %.2f\n", took_us.size(), *place);
}
