#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tools/commands.h"
#include "tools/processes.h"

namespace heldby::tools {
namespace {

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
