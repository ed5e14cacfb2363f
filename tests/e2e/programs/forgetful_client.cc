// A client that knows nothing of heldby: asks a server PORT, CALLS times, looks at the first
// bytes of each answer and forgets to close the socket. Runs until its standard input ends.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

int Dial(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) std::exit(3);
  return fd;
}

__attribute__((noinline)) bool CheckHealth(int port) {
  const int fd = Dial(port);
  constexpr char kRequest[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  if (::send(fd, kRequest, sizeof(kRequest) - 1, MSG_NOSIGNAL) < 0) return false;
  char status[12];
  return ::recv(fd, status, sizeof(status), MSG_WAITALL) == sizeof(status) &&
         std::memcmp(status, "HTTP/1.1 200", sizeof(status)) == 0;  // and nobody closes fd
}

}  // namespace

int main(int, char** argv) {
  int healthy = 0;
  for (int i = 0; i < std::atoi(argv[2]); ++i) healthy += CheckHealth(std::atoi(argv[1]));
  std::printf("%d healthy\n", healthy);
  std::fflush(stdout);
  for (char byte; ::read(0, &byte, 1) > 0;) {
  }
  return 0;
}
