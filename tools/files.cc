#include "tools/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace heldby::tools {

Status SystemError(const std::string& what) {
  const int error = errno;
  return Status(error == ENOENT ? StatusCode::kNotFound : StatusCode::kUnavailable,
                what + ": " + std::strerror(error));
}

// One byte more than is allowed tells that there is more: a device has no size to ask for.
Result<std::string> ReadAll(const std::string& path, std::size_t max_bytes) {
  const bool is_stdin = path == "-";
  const int fd = is_stdin ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path);
  std::string bytes;
  char buffer[64 * 1024];
  ssize_t size = 0;
  do {
    size = read(fd, buffer, sizeof buffer);
    if (size > 0) bytes.append(buffer, static_cast<std::size_t>(size));
  } while ((size > 0 && bytes.size() <= max_bytes) || (size < 0 && errno == EINTR));
  Status status = size < 0 ? SystemError(is_stdin ? "standard input" : path) : Status();
  if (!is_stdin) close(fd);
  if (!status.ok()) return status;
  if (bytes.size() > max_bytes) {
    return Status(StatusCode::kResourceExhausted,
                  (is_stdin ? "standard input" : path) + ": more than " +
                      std::to_string(max_bytes >> 20) + " MiB: not a profile");
  }
  return bytes;
}

Status WriteAll(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t size = write(fd, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return SystemError(name);
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return Status();
}

namespace {

// A rename cannot replace a device or a pipe, and must not replace a link to a file.
bool IsReplaceable(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode);
}

Status WriteInPlace(const std::string& path, std::string_view bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return SystemError(path);
  Status status = WriteAll(fd, bytes, path);
  if (close(fd) != 0 && status.ok()) status = SystemError(path);
  return status;
}

// A replaced file stays as private as it was, a new one is what the user's umask says:
// mkostemp() gave 0600 and our own ids. Only root can give a file away; anyone else's
// replacement of a foreign file has no group to trust, so that one loses the group's part.
Status TakeOverMode(int fd, const std::string& path, const std::string& temporary) {
  const mode_t mask = umask(0);
  umask(mask);
  mode_t mode = 0666 & ~mask;
  struct stat old;
  struct stat now;
  if (fstat(fd, &now) != 0) return SystemError(temporary);
  if (lstat(path.c_str(), &old) == 0) {
    mode = old.st_mode & 0777;
    const bool is_same = old.st_uid == now.st_uid && old.st_gid == now.st_gid;
    if (!is_same && fchown(fd, old.st_uid, old.st_gid) != 0) mode &= ~mode_t{070};
  }
  return fchmod(fd, mode) == 0 ? Status() : SystemError(temporary);
}

}  // namespace

// Beside the target, so that the rename stays on one file system.
Status WriteFile(const std::string& path, std::string_view bytes) {
  if (!IsReplaceable(path)) return WriteInPlace(path, bytes);
  std::string temporary = path + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return SystemError(temporary);
  Status status = WriteAll(fd, bytes, temporary);
  if (status.ok()) status = TakeOverMode(fd, path, temporary);
  if (close(fd) != 0 && status.ok()) status = SystemError(temporary);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) status = SystemError(path);
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

Result<std::string> WriteNewFile(const std::string& prefix, const std::string& suffix,
                                 std::string_view bytes) {
  constexpr int kMaxNumber = 99999;
  for (int number = 1; number <= kMaxNumber; ++number) {
    std::string digits = std::to_string(number);
    digits.insert(0, digits.size() < 3 ? 3 - digits.size() : 0, '0');
    std::string path = prefix;
    path.append(digits).append(suffix);
    // Takes the name first, so that of two who save at once each gets its own.
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return SystemError(path);
    close(fd);
    const Status status = WriteFile(path, bytes);
    if (status.ok()) return path;
    unlink(path.c_str());
    return status;
  }
  return Status(StatusCode::kUnavailable, prefix + "*" + suffix + ": no number is free");
}

}  // namespace heldby::tools
