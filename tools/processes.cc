#include "tools/processes.h"

#include <dirent.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace heldby::tools {
namespace {

constexpr char kMark[] = "/memfd:heldby:";

}  // namespace

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), &closedir);
  if (open == nullptr) return names;  // gone meanwhile, or another user's
  while (const dirent* entry = readdir(open.get())) names.emplace_back(entry->d_name);
  return names;
}

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

}  // namespace heldby::tools
