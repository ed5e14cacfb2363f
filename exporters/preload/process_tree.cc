#include "exporters/preload/process_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/setting.h"
#include "exporters/http/fork_fds.h"
#include "heldby/self.h"

namespace heldby::preload {
namespace {

constexpr int kMaxGenerations = 32;

pid_t ParentOf(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string line;
  while (std::getline(status, line)) {
    absl::string_view rest = line;
    int parent = 0;
    if (absl::ConsumePrefix(&rest, "PPid:") && absl::SimpleAtoi(rest, &parent)) return parent;
  }
  return 0;
}

bool Carries(pid_t pid) {
  std::ifstream maps(absl::StrCat("/proc/", pid, "/maps"));
  std::string line;
  while (std::getline(maps, line)) {
    if (absl::EndsWith(line, "/libheldby.so")) return true;
  }
  return false;
}

// Whether a descriptor of process `pid` is a memfd named "heldby:...<suffix>".
bool Announces(const std::string& pid, absl::string_view suffix) {
  const std::string folder = absl::StrCat("/proc/", pid, "/fd");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    absl::string_view name = target;
    if (!error && absl::ConsumePrefix(&name, "/memfd:heldby:")) {
      absl::ConsumeSuffix(&name, " (deleted)");
      if (absl::EndsWith(name, suffix)) return true;
    }
  }
  return false;
}

}  // namespace

bool ServedByHeldby(std::string_view listen) {
  constexpr int kLooks = 3;
  constexpr auto kPause = std::chrono::milliseconds(30);
  // ":6060" of "127.0.0.1:6060", ":/run/app.sock" of "unix:/run/app.sock".
  const auto colon = listen.rfind(':');
  if (colon == std::string_view::npos) return false;
  const absl::string_view suffix(listen.data() + colon, listen.size() - colon);
  for (int look = 0; look < kLooks; ++look) {
    if (look > 0) std::this_thread::sleep_for(kPause);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      const std::string pid = entry.path().filename().string();
      int number = 0;
      if (absl::SimpleAtoi(pid, &number) && Announces(pid, suffix)) return true;
    }
  }
  return false;
}

bool InfoWanted() {
  const char* level = core::Setting("HELDBY_LOG");
  if (level == nullptr || *level == '\0') return false;
  if (strcmp(level, "info") == 0) return true;
  if (strcmp(level, "error") != 0) {
    SayLine(absl::StrCat("HELDBY_LOG is \"", level, "\"; accepted: info, error; using error"));
  }
  return false;
}

void SayLine(std::string_view text) {
  // One write: lines of many processes must not mix.
  WriteErrorLine(absl::StrCat("heldby: ", absl::string_view(text.data(), text.size()), "\n"));
}

bool AncestorCarriesHeldby() {
  pid_t pid = getppid();
  for (int i = 0; i < kMaxGenerations && pid > 1; ++i) {
    if (Carries(pid)) return true;
    pid = ParentOf(pid);
  }
  return false;
}

void Announce(const std::string& address) {
  // 249 characters is what memfd_create takes; a longer address is served, only not listed.
  const int fd = memfd_create(absl::StrCat("heldby:", address).c_str(), MFD_CLOEXEC);
  if (fd >= 0) http::CloseInForkedChild(fd);  // a child is not what the name says
}

}  // namespace heldby::preload
