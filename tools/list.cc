// heldby ls: served processes announce themselves with a memfd whose name is their address;
// here they are found by looking through /proc, with no file or socket of our own in between.
#include <dirent.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "tools/commands.h"

namespace heldby::tools {
namespace {

constexpr char kMark[] = "/memfd:heldby:";

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), &closedir);
  if (open == nullptr) return names;  // gone meanwhile, or another user's
  while (const dirent* entry = readdir(open.get())) names.emplace_back(entry->d_name);
  return names;
}

// Empty: this process serves nothing (or is not ours to look into).
std::string AddressOf(const std::string& process) {
  const std::string folder = absl::StrCat("/proc/", process, "/fd/");
  for (const std::string& fd : NamesIn(folder)) {
    char target[512];
    const ssize_t size = readlink((folder + fd).c_str(), target, sizeof(target));
    if (size <= 0) continue;
    absl::string_view name(target, static_cast<std::size_t>(size));
    if (absl::ConsumePrefix(&name, kMark)) {
      absl::ConsumeSuffix(&name, " (deleted)");
      return std::string(name);
    }
  }
  return {};
}

std::string CommandOf(const std::string& process) {
  std::ifstream file(absl::StrCat("/proc/", process, "/cmdline"), std::ios::binary);
  std::string words((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!words.empty() && words.back() == '\0') words.pop_back();
  return absl::StrReplaceAll(words, {{absl::string_view("\0", 1), " "}});
}

}  // namespace

int List(const Arguments& arguments) {
  if (!arguments.empty()) {
    std::fprintf(stderr, "heldby ls: takes no arguments\n");
    return 2;
  }
  // Names and arguments are other people's text: nothing in them reaches the terminal as a
  // command.
  std::printf("%8s  %-32s %s\n", "PID", "ADDRESS", "COMMAND");
  for (const std::string& process : NamesIn("/proc")) {
    int pid = 0;
    if (!absl::SimpleAtoi(process, &pid)) continue;
    const std::string address = AddressOf(process);
    if (address.empty()) continue;
    std::printf("%8d  %-32s %s\n", pid, absl::CHexEscape(address).c_str(),
                absl::Utf8SafeCHexEscape(CommandOf(process)).c_str());
  }
  return 0;
}

}  // namespace heldby::tools
