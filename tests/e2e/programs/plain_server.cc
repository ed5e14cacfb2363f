// A server that has never heard of heldby: answers each request with the same number of bytes,
// which it makes anew, and goes on until the client leaves.
//
//   plain_server threads|epoll BYTES
//
// Says its port. threads: one for each connection, blocking; epoll: one thread for all.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

std::size_t answer_bytes;

__attribute__((noinline)) std::vector<char> MakeAnswer() {
  const std::string head =
      "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(answer_bytes) + "\r\n\r\n";
  std::vector<char> answer(head.size() + answer_bytes, 'x');
  std::memcpy(answer.data(), head.data(), head.size());
  return answer;
}

int Listen() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int small = 65536;  // so that little of an answer hides in the kernel
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(fd, generic, size) != 0 || listen(fd, 256) != 0 ||
      getsockname(fd, generic, &size) != 0) {
    std::perror("plain_server");
    std::exit(1);
  }
  std::printf("port %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

void SendWhole(int fd) {
  const std::vector<char> answer = MakeAnswer();
  for (std::size_t sent = 0; sent < answer.size();) {
    const ssize_t now = send(fd, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
    if (now <= 0) return;
    sent += static_cast<std::size_t>(now);
  }
}

void ServeBlocking(int fd) {
  char request[512];
  while (recv(fd, request, sizeof(request), 0) > 0) SendWhole(fd);
  close(fd);
}

__attribute__((noinline)) int AcceptOne(int listener) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) std::perror("accept4");
  return fd;
}

void ThreadForEach(int listener) {
  while (true) {
    const int fd = AcceptOne(listener);
    if (fd >= 0) std::thread(ServeBlocking, fd).detach();
  }
}

struct Client {
  std::vector<char> answer;
  std::size_t sent = 0;
};

class Loop {
 public:
  explicit Loop(int listener) : listener_(listener) {
    fcntl(listener, F_SETFL, O_NONBLOCK);
    Watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  }

  [[noreturn]] void Run() {
    epoll_event events[64];
    while (true) {
      const int count = epoll_wait(epoll_, events, 64, -1);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == listener_) {
          AcceptAll();
        } else {
          Serve(events[i].data.fd);
        }
      }
    }
  }

 private:
  void Watch(int how, int fd, unsigned what) const {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    epoll_ctl(epoll_, how, fd, &event);
  }

  void AcceptAll() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      fcntl(fd, F_SETFL, O_NONBLOCK);
      clients_.emplace(fd, Client());
      Watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void Serve(int fd) {
    Client& client = clients_[fd];
    if (client.answer.empty()) {
      char request[512];
      if (read(fd, request, request_bytes_) <= 0) return Leave(fd);
      client.answer = MakeAnswer();
      client.sent = 0;
    }
    const ssize_t now = send(fd, client.answer.data() + client.sent,
                             client.answer.size() - client.sent, MSG_NOSIGNAL);
    if (now < 0 && errno != EAGAIN) return Leave(fd);
    if (now > 0) client.sent += static_cast<std::size_t>(now);
    const bool done = client.sent == client.answer.size();
    if (done) std::vector<char>().swap(client.answer);
    Watch(EPOLL_CTL_MOD, fd, done ? EPOLLIN : EPOLLOUT);
  }

  void Leave(int fd) {
    clients_.erase(fd);
    close(fd);
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  const int listener_;
  std::size_t request_bytes_ = 512;
  std::unordered_map<int, Client> clients_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  answer_bytes = std::strtoul(argv[2], nullptr, 10);
  const int listener = Listen();
  if (std::strcmp(argv[1], "epoll") == 0) Loop(listener).Run();
  ThreadForEach(listener);
}
