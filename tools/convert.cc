#include "tools/convert.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "exporters/pprof/convert.h"
#include "heldby/status.h"

namespace heldby {
namespace {

constexpr char kUsage[] =
    "usage: heldby convert IN OUT\n"
    "  Converts a profile to gzip-compressed profile.proto, for `go tool pprof`.\n"
    "  IN   a heap, growth, CPU or contention profile of gperftools, a ?debug=1 text of Go,\n"
    "       or profile.proto; plain or in gzip. - is standard input.\n"
    "       At most 256 MiB.\n"
    "  OUT  a file, replaced only when all went well; it keeps its mode, a new one gets what\n"
    "       the umask leaves of 0666. - is standard output.\n";

Status SystemError(const std::string& what) {
  const int error = errno;
  return Status(error == ENOENT ? StatusCode::kNotFound : StatusCode::kUnavailable,
                what + ": " + std::strerror(error));
}

// One byte more than is allowed tells that there is more: a device has no size to ask for.
Result<std::string> ReadAll(const std::string& path) {
  const bool is_stdin = path == "-";
  const int fd = is_stdin ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return SystemError(path);
  std::string bytes;
  char buffer[64 * 1024];
  ssize_t size = 0;
  do {
    size = read(fd, buffer, sizeof buffer);
    if (size > 0) bytes.append(buffer, static_cast<std::size_t>(size));
  } while ((size > 0 && bytes.size() <= kMaxProfileBytes) || (size < 0 && errno == EINTR));
  Status status = size < 0 ? SystemError(is_stdin ? "standard input" : path) : Status();
  if (!is_stdin) close(fd);
  if (!status.ok()) return status;
  if (bytes.size() > kMaxProfileBytes) {
    return Status(StatusCode::kResourceExhausted,
                  (is_stdin ? "standard input" : path) + ": more than 256 MiB: not a profile");
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

Status Convert(const std::string& in, const std::string& out) {
  const Result<std::string> input = ReadAll(in);
  if (!input.ok()) return input.status();
  const Result<std::string> output = ConvertToPprof(*input);
  if (!output.ok())
    return Status(output.status().code(), in + ": " + output.status().message());
  if (out == "-") return WriteAll(STDOUT_FILENO, *output, "standard output");
  return WriteFile(out, *output);
}

}  // namespace

int ConvertMain(int argc, char** argv) try {
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] == '-' && argv[i][1] != '\0') {
      std::fprintf(stderr, "heldby convert: unknown option %s\n%s", argv[i], kUsage);
      return 2;
    }
  }
  if (argc != 3 || argv[1][0] == '\0' || argv[2][0] == '\0') {
    std::fprintf(stderr, "heldby convert: needs two arguments, IN and OUT\n%s", kUsage);
    return 2;
  }
  const Status status = Convert(argv[1], argv[2]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "heldby convert: %s\n", status.message().c_str());
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "heldby convert: %s\n", error.what());
  return 1;
}

}  // namespace heldby
