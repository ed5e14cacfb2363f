#include "exporters/http/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "exporters/http/fork_fds.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

constexpr int kBacklog = 32;
constexpr int kSocketFlags = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

Status Unavailable(std::string_view address, std::string_view why) {
  return Status(StatusCode::kUnavailable, Concat("cannot listen on ", address, ": ", why));
}

Status UnavailableErrno(std::string_view address, std::string_view call, int error) {
  const char* name = ::strerrorname_np(error);
  const char* text = ::strerrordesc_np(error);
  return Unavailable(address, Concat(call, ": ", text ? text : "unknown error", " (",
                                     name ? name : "errno", ")"));
}

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());  // ParseListenAddress bounds it
  return address;
}

// Serializes processes that replace a stale file in one directory: without it, the second
// unlinks the socket that the first has just bound. A lock file of our own would stay behind;
// the directory is there already.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& path)
      : fd_(::open(path.substr(0, path.rfind('/') + 1).c_str(),
                   O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ < 0) {
      error_ = errno;
      return;
    }
    for (int attempt = 0; ::flock(fd_, LOCK_EX | LOCK_NB) != 0; ++attempt) {
      error_ = errno;
      if (attempt == 50) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    error_ = 0;
  }
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  int fd() const { return fd_; }
  int error() const { return error_; }

 private:
  int fd_;
  int error_ = 0;
};

// In a directory that others can write, they could swap our socket for theirs.
Status CheckDirectory(const DirectoryLock& directory, const std::string& display) {
  struct stat info {};
  if (::fstat(directory.fd(), &info) != 0) return UnavailableErrno(display, "fstat", errno);
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return Unavailable(display, "its directory belongs to another user");
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (info.st_mode & S_ISVTX) == 0) {
    return Unavailable(
        display, "its directory can be written by others and is not sticky; chmod go-w it");
  }
  return Status();
}

// Ok: nothing is in the way any more.
Status RemoveStale(const std::string& path, const std::string& display) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Status() : UnavailableErrno(display, "lstat", errno);
  }
  if (!S_ISSOCK(info.st_mode))
    return Unavailable(display, "the file exists and is not a socket");
  if (info.st_uid != ::geteuid() && ::geteuid() != 0) {
    return Unavailable(display, "the socket belongs to another user");
  }
  const int probe = ::socket(AF_UNIX, kSocketFlags, 0);
  if (probe < 0) return UnavailableErrno(display, "socket", errno);
  const sockaddr_un address = UnixAddress(path);
  const int connected =
      ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = connected == 0 ? 0 : errno;
  ::close(probe);
  // Only a refusal proves that nobody listens: a full backlog answers EAGAIN.
  if (error != ECONNREFUSED) return UnavailableErrno(display, "another process", EADDRINUSE);
  if (::unlink(path.c_str()) != 0) return UnavailableErrno(display, "unlink", errno);
  return Status();
}

}  // namespace

Listener::Listener(Listener&& other) noexcept { *this = std::move(other); }

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    port_ = other.port_;
    address_ = std::move(other.address_);
    path_ = std::exchange(other.path_, {});
    owner_pid_ = other.owner_pid_;
    device_ = other.device_;
    inode_ = other.inode_;
  }
  return *this;
}

Listener::~Listener() { Close(); }

void Listener::Close() {
  if (fd_ < 0) return;
  const int fd = std::exchange(fd_, -1);
  if (owner_pid_ != ::getpid()) return;  // the fork handler has closed the child's copy
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  const bool still_ours = IsStillOurs(fd);
  ForgetForkFd(fd);
  if (still_ours) ::close(fd);
}

Result<Listener> Listener::Open(const ListenAddress& address) {
  auto listener = address.is_unix ? OpenUnix(address) : OpenTcp(address);
  if (listener) CloseInForkedChild(listener->fd_);
  return listener;
}

Result<Listener> Listener::OpenTcp(const ListenAddress& address) {
  const bool is_v6 = address.host.find(':') != std::string::npos;
  const std::string host = is_v6 ? Concat("[", address.host, "]") : address.host;
  const std::string display = Concat(host, ":", address.port);
  Listener listener;
  listener.owner_pid_ = ::getpid();
  listener.fd_ = ::socket(is_v6 ? AF_INET6 : AF_INET, kSocketFlags, 0);
  if (listener.fd_ < 0) return UnavailableErrno(display, "socket", errno);
  const int on = 1;
  ::setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

  sockaddr_storage storage{};
  socklen_t length = 0;
  if (is_v6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr);
    length = sizeof(*v6);
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr);
    length = sizeof(*v4);
  }
  if (::bind(listener.fd_, reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return UnavailableErrno(display, "bind", errno);
  }
  if (::listen(listener.fd_, kBacklog) != 0) return UnavailableErrno(display, "listen", errno);
  length = sizeof(storage);
  if (::getsockname(listener.fd_, reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
    return UnavailableErrno(display, "getsockname", errno);
  }
  // Both families keep the port at the same place.
  listener.port_ = ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port);
  listener.address_ = Concat("http://", host, ":", listener.port_);
  return listener;
}

Result<Listener> Listener::OpenUnix(const ListenAddress& address) {
  const std::string display = Concat("unix:", address.path);
  const DirectoryLock directory(address.path);
  if (directory.error() != 0) {
    return UnavailableErrno(display, "its directory", directory.error());
  }
  if (Status status = CheckDirectory(directory, display); !status.ok()) return status;
  if (Status status = RemoveStale(address.path, display); !status.ok()) return status;

  Listener listener;
  listener.owner_pid_ = ::getpid();
  listener.fd_ = ::socket(AF_UNIX, kSocketFlags, 0);
  if (listener.fd_ < 0) return UnavailableErrno(display, "socket", errno);
  if (::fchmod(listener.fd_, 0600) != 0) return UnavailableErrno(display, "fchmod", errno);
  const sockaddr_un bound = UnixAddress(address.path);
  if (::bind(listener.fd_, reinterpret_cast<const sockaddr*>(&bound), sizeof(bound)) != 0) {
    return UnavailableErrno(display, "bind", errno);
  }
  struct stat info {};
  if (::lstat(address.path.c_str(), &info) != 0)
    return UnavailableErrno(display, "lstat", errno);
  listener.path_ = address.path;
  listener.device_ = info.st_dev;
  listener.inode_ = info.st_ino;
  if (::listen(listener.fd_, kBacklog) != 0) return UnavailableErrno(display, "listen", errno);
  listener.address_ = display;
  return listener;
}

}  // namespace heldby::http
