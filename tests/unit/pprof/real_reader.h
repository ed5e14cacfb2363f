// tests/unit/pprof/real_reader.h - the real programs that read our bytes.
//
// Threads  one.
// Source   Go from PATH, google/pprof from /usr/share/gocode (golang-github-google-pprof-dev).
//          A missing one fails the test that asked: nothing here is skipped.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace heldby {

/// A folder that goes with the object.
class ScratchDir {
 public:
  ScratchDir() {
    std::string path = testing::TempDir() + "/heldby-pprof-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) ADD_FAILURE() << "cannot create " << path;
    path_ = path;
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  std::string path(const std::string& name) const { return path_ + "/" + name; }

  std::string Write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) ADD_FAILURE() << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Output {
  int exit_code = -1;
  std::string text;  // both streams
};

inline Output RunShell(const std::string& command) {
  Output output;
  FILE* pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  char buffer[4096];
  while (std::size_t size = fread(buffer, 1, sizeof buffer, pipe))
    output.text.append(buffer, size);
  const int status = pclose(pipe);
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

inline std::string RunOrFail(const std::string& command) {
  Output output = RunShell(command);
  if (output.exit_code == 127) {
    ADD_FAILURE()
        << "go is not in PATH; these tests need Go and golang-github-google-pprof-dev";
  } else if (output.exit_code != 0) {
    ADD_FAILURE() << command << "\nexit " << output.exit_code << ": " << output.text;
  }
  return output.text;
}

/// `go tool pprof <flags> <file>`.
inline std::string GoToolPprof(const std::string& flags, const std::string& file) {
  return RunOrFail("go tool pprof -symbolize=none " + flags + " " + file);
}

/// Parse + CheckValid of google/pprof, and its view of the profile as text.
inline std::string CheckValid(const std::string& file) {
  return RunOrFail(
      "GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE=" + testing::TempDir() +
      "/heldby-go-cache go run " HELDBY_CHECKVALID " " + file);
}

}  // namespace heldby
