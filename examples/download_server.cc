// A small thread-per-connection HTTP server with a classic leak in it.
//
//   download_server --file=PATH [--listen=127.0.0.1:8080] [--mode=leaky|chunked]
//                   [--debug=127.0.0.1:6060]
//
// leaky    each download reads the file whole and then writes it: a client that never reads
//          keeps the server waiting in send(), and the file stays in memory, once per client
// chunked  the fix: 64 KiB at a time, however large the file and however slow the client
//
// All it takes to see which is which, and which client, is marked USE_HELDBY; without those
// lines it is a server that has never heard of heldby.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#ifdef USE_HELDBY
#include <heldby/heldby.h>
#endif

namespace {

struct Options {
  std::string file;
  std::string listen = "127.0.0.1:8080";
  std::string mode = "leaky";
  std::string debug = "127.0.0.1:6060";
};

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "download_server: %s\n", message.c_str());
  std::exit(2);
}

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool ok() const { return fd_ >= 0; }
  std::size_t size_bytes() const {
    struct stat facts {};
    return fstat(fd_, &facts) == 0 ? static_cast<std::size_t>(facts.st_size) : 0;
  }
  std::size_t Read(char* to, std::size_t limit_bytes) {
    const ssize_t got = read(fd_, to, limit_bytes);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }

  // What os.ReadFile does in Go, and what holds the memory in this story.
  std::vector<char> ReadWhole() {
    std::vector<char> content(size_bytes());
    std::size_t done = 0;
    while (done < content.size()) {
      const std::size_t got = Read(content.data() + done, content.size() - done);
      if (got == 0) break;
      done += got;
    }
    return content;
  }

 private:
  int fd_;
};

class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  ~Connection() {
#ifdef USE_HELDBY
    known_.Forget();  // before the descriptor goes
#endif
    close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // What it is doing now, for /debug/connections.
  void Says(const char* state) {
#ifdef USE_HELDBY
    known_.SetState(state);
#else
    static_cast<void>(state);
#endif
  }
#ifdef USE_HELDBY
  heldby::ConnectionId id() const { return known_.id(); }
#endif

  bool ReadRequest() {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos && request.size() < 65536) {
      const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
      if (got <= 0) return false;
      request.append(buffer, static_cast<std::size_t>(got));
    }
    return request.starts_with("GET ");
  }

  // Waits as long as it takes: this is where a thread stands when its peer does not read.
  bool SendAll(const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t sent = send(fd_, data, size, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  bool SendHeader(std::size_t body_bytes) {
    const std::string header =
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n"
        "Content-Length: " +
        std::to_string(body_bytes) + "\r\n\r\n";
    return SendAll(header.data(), header.size());
  }

 private:
  int fd_;
#ifdef USE_HELDBY
  heldby::Connection known_{fd_, heldby::Direction::kInbound};
#endif
};

class DownloadHandler {
 public:
  explicit DownloadHandler(const Options& options) : options_(options) {}

  void Serve(int fd) const {
#ifdef USE_HELDBY
    const heldby::ScopedLabels labels({{"route", "/download"}});
#endif
    Connection connection(fd);
#ifdef USE_HELDBY
    const heldby::Task task("download", {.connection = connection.id()});
#endif
    connection.Says("reading the request");
    if (!connection.ReadRequest()) return;
    connection.Says("sending the file");
    File file(options_.file);
    if (!file.ok()) return;
    if (options_.mode == "leaky") {
      ServeWhole(connection, file);
    } else {
      ServeInChunks(connection, file);
    }
  }

 private:
  void ServeWhole(Connection& connection, File& file) const {
    const std::vector<char> content = file.ReadWhole();
    if (connection.SendHeader(content.size())) {
      connection.SendAll(content.data(), content.size());
    }
  }

  void ServeInChunks(Connection& connection, File& file) const {
    std::vector<char> chunk(64 * 1024);
    if (!connection.SendHeader(file.size_bytes())) return;
    while (const std::size_t got = file.Read(chunk.data(), chunk.size())) {
      if (!connection.SendAll(chunk.data(), got)) return;
    }
  }

  const Options& options_;
};

int Listen(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in in{};
  in.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &in.sin_addr) != 1) {
    Fail("--listen is \"" + address +
         "\"; accepted: an IPv4 address and a port, 127.0.0.1:8080");
  }
  in.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (bind(fd, reinterpret_cast<sockaddr*>(&in), sizeof(in)) != 0 || listen(fd, 128) != 0) {
    Fail("cannot listen on " + address + ": " + std::strerror(errno));
  }
  socklen_t size = sizeof(in);
  getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
  std::printf("downloads on http://127.0.0.1:%d/\n", ntohs(in.sin_port));
  return fd;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value_of = [&](std::string_view name, std::string* value) {
      if (!argument.starts_with(name)) return false;
      *value = argument.substr(name.size());
      return true;
    };
    if (!value_of("--file=", &options.file) && !value_of("--listen=", &options.listen) &&
        !value_of("--mode=", &options.mode) && !value_of("--debug=", &options.debug)) {
      Fail("unknown argument \"" + std::string(argument) +
           "\"; accepted: --file= --listen= --mode= --debug=");
    }
  }
  if (options.file.empty() || !File(options.file).ok()) {
    Fail("--file is \"" + options.file + "\"; accepted: a readable file");
  }
  if (options.mode != "leaky" && options.mode != "chunked") {
    Fail("--mode is \"" + options.mode + "\"; accepted: leaky, chunked");
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
#ifdef USE_HELDBY
  auto debug = heldby::DebugServer::Start({.listen = options.debug});
  if (!debug) Fail(debug.status().message());
  std::printf("debug endpoint on %s/debug/pprof/\n", debug->address().c_str());
#endif
  const DownloadHandler handler(options);
  const int listener = Listen(options.listen);
  std::fflush(stdout);
  while (true) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) std::thread([&handler, fd] { handler.Serve(fd); }).detach();
  }
}
