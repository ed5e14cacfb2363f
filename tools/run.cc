// heldby run: LD_PRELOAD and a few variables, and a clear word where preloading cannot work.
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/commands.h"

namespace heldby::tools {
namespace {

int Fail(int status, const std::string& message) {
  std::fprintf(stderr, "heldby run: %s\n", message.c_str());
  return status;
}

// Beside this executable: ../lib in a build tree, ../<libdir> where it is installed.
std::string FindCore() {
  char self[PATH_MAX] = "";
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0) return {};
  const std::string bin = std::string(self).substr(0, std::string(self).rfind('/'));
  for (const char* lib : {"/../lib/", "/../" HELDBY_LIBDIR "/"}) {
    char resolved[PATH_MAX];
    if (realpath(absl::StrCat(bin, lib, "libheldby.so").c_str(), resolved) != nullptr) {
      return resolved;
    }
  }
  return {};
}

std::string FindCommand(const std::string& name) {
  if (absl::StrContains(name, '/')) return name;
  const char* path = getenv("PATH");
  for (absl::string_view folder :
       absl::StrSplit(path != nullptr ? path : "/bin:/usr/bin", ':')) {
    std::string candidate = absl::StrCat(folder.empty() ? "." : folder, "/", name);
    struct stat facts {};
    if (access(candidate.c_str(), X_OK) == 0 && stat(candidate.c_str(), &facts) == 0 &&
        S_ISREG(facts.st_mode)) {
      return candidate;
    }
  }
  return {};
}

template <typename Record>
bool ReadAt(std::ifstream& file, std::uint64_t offset, Record* record) {
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  return static_cast<bool>(file.read(reinterpret_cast<char*>(record), sizeof(*record)));
}

// DT_NEEDED of the program: its strings lie at an address, which a loaded segment places in the
// file.
std::vector<std::string> NeededLibraries(std::ifstream& file, const Elf64_Ehdr& header) {
  std::vector<Elf64_Phdr> loads;
  Elf64_Phdr dynamic{};
  for (int i = 0; i < header.e_phnum && i < 128; ++i) {
    Elf64_Phdr segment{};
    if (!ReadAt(file, header.e_phoff + sizeof(segment) * static_cast<unsigned>(i), &segment))
      break;
    if (segment.p_type == PT_LOAD) loads.push_back(segment);
    if (segment.p_type == PT_DYNAMIC) dynamic = segment;
  }
  std::uint64_t strings = 0;
  std::vector<std::uint64_t> names;
  for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic.p_filesz && at < 65536;
       at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry{};
    if (!ReadAt(file, dynamic.p_offset + at, &entry) || entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
    if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
  }
  std::vector<std::string> libraries;
  for (const Elf64_Phdr& load : loads) {
    if (strings < load.p_vaddr || strings >= load.p_vaddr + load.p_filesz) continue;
    for (const std::uint64_t name : names) {
      file.clear();
      file.seekg(static_cast<std::streamoff>(load.p_offset + (strings - load.p_vaddr) + name));
      std::string library;
      std::getline(file, library, '\0');
      libraries.push_back(library.substr(0, 256));
    }
  }
  return libraries;
}

// Why LD_PRELOAD would not reach this program, or would break it. Empty: nothing known against.
std::string Objection(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof(header)) ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return {};  // a script, or something execve will judge
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64)
    return "is a 32-bit program; accepted: 64-bit ones";
  bool has_interpreter = false;
  for (int i = 0; i < header.e_phnum && i < 128; ++i) {
    Elf64_Phdr segment{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + sizeof(segment) * i));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof(segment))) break;
    has_interpreter = has_interpreter || segment.p_type == PT_INTERP;
  }
  if (!has_interpreter) {
    return "is statically linked, so nothing can be preloaded into it; accepted: programs "
           "that use the dynamic linker";
  }
  struct stat facts {};
  if (geteuid() != 0 && stat(path.c_str(), &facts) == 0 &&
      (facts.st_mode & (S_ISUID | S_ISGID))) {
    return "is set-user-id or set-group-id: the system drops LD_PRELOAD for it";
  }
  // The runtime of GCC's sanitizers insists on being the first library and aborts otherwise.
  for (const std::string& library : NeededLibraries(file, header)) {
    if (absl::StartsWith(library, "libasan.so.") || absl::StartsWith(library, "libtsan.so.")) {
      return absl::StrCat("uses a sanitizer (", library, "), which owns malloc");
    }
  }
  return {};
}

struct Settings {
  std::string listen;
  std::string sample_bytes;
  std::string dump_at_exit;
  std::string dump_dir;
};

// Returns how many arguments were ours, or -1 after having said what is wrong.
int ParseSettings(const Arguments& arguments, Settings* settings) {
  std::size_t i = 0;
  for (; i < arguments.size(); ++i) {
    absl::string_view argument(arguments[i].data(), arguments[i].size());
    if (argument == "--") return static_cast<int>(i + 1);
    if (!absl::StartsWith(argument, "-")) break;
    std::string* value =
        absl::ConsumePrefix(&argument, "--listen=")         ? &settings->listen
        : absl::ConsumePrefix(&argument, "--sample-bytes=") ? &settings->sample_bytes
        : absl::ConsumePrefix(&argument, "--dump-at-exit=") ? &settings->dump_at_exit
        : absl::ConsumePrefix(&argument, "--dump-dir=")     ? &settings->dump_dir
                                                            : nullptr;
    if (value == nullptr) {
      Fail(2, absl::StrCat("unknown option \"", argument,
                           "\"; accepted: --listen=, --sample-bytes=, --dump-at-exit=, "
                           "--dump-dir=, --"));
      return -1;
    }
    *value = std::string(argument);
  }
  return static_cast<int>(i);
}

void Export(const char* name, const std::string& value) {
  if (!value.empty()) setenv(name, value.c_str(), 1);
}

}  // namespace

int Run(const Arguments& arguments) {
  Settings settings;
  const int ours = ParseSettings(arguments, &settings);
  if (ours < 0) return 2;
  if (static_cast<std::size_t>(ours) >= arguments.size()) {
    return Fail(2, "no command given; usage: heldby run [options] -- COMMAND [ARGUMENTS]");
  }
  const std::string core = FindCore();
  if (core.empty()) return Fail(1, "cannot find libheldby.so beside this program (../lib)");
  if (core.find_first_of(" :") != std::string::npos) {
    return Fail(1,
                absl::StrCat("libheldby.so is in \"", core,
                             "\"; accepted: a path without spaces and colons, which separate "
                             "the entries of LD_PRELOAD"));
  }
  const std::string name(arguments[static_cast<std::size_t>(ours)]);
  const std::string path = FindCommand(name);
  if (path.empty()) return Fail(127, absl::StrCat("no program \"", name, "\" in PATH"));
  if (const std::string objection = Objection(path); !objection.empty()) {
    return Fail(1, absl::StrCat(path, " ", objection));
  }

  if (settings.listen.empty() && settings.dump_at_exit.empty() && settings.dump_dir.empty() &&
      getenv("HELDBY_LISTEN") == nullptr && getenv("HELDBY_DUMP_AT_EXIT") == nullptr &&
      getenv("HELDBY_DUMP_DIR") == nullptr) {
    settings.listen = "127.0.0.1:0";
  }
  Export("HELDBY_LISTEN", settings.listen);
  Export("HELDBY_SAMPLE_BYTES", settings.sample_bytes);
  Export("HELDBY_DUMP_AT_EXIT", settings.dump_at_exit);
  Export("HELDBY_DUMP_DIR", settings.dump_dir);
  setenv("HELDBY_LOG", "info", /*overwrite=*/0);  // somebody is watching: say where it serves
  const char* others = getenv("LD_PRELOAD");
  Export("LD_PRELOAD",
         others != nullptr && *others != '\0' ? absl::StrCat(core, ":", others) : core);

  std::vector<std::string> words(arguments.begin() + ours, arguments.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(path.c_str(), argv.data());
  // The shell's convention: 127 not found, 126 found but not runnable.
  return Fail(errno == ENOENT ? 127 : 126,
              absl::StrCat("cannot run ", path, ": ", strerror(errno)));
}

}  // namespace heldby::tools
