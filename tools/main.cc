#include <cstdio>
#include <string>
#include <string_view>

#include "tools/commands.h"
#include "tools/convert.h"

namespace {

constexpr char kUsage[] =
    "heldby - what a C++ service is holding, and who it is held by\n"
    "\n"
    "  heldby run [--listen=ADDRESS] [--sample-bytes=N] [--dump-at-exit=FILE]\n"
    "             [--dump-dir=FOLDER] -- COMMAND ...\n"
    "      runs any dynamically linked program with the heap profiler in it. ADDRESS:\n"
    "      127.0.0.1:6060, 127.0.0.1:0 (any free port, the default), unix:/path/%p.sock\n"
    "  heldby ls\n"
    "      lists your processes that serve an endpoint\n"
    "  heldby leaks [-json] [-token-file FILE] TARGET\n"
    "      what leaks there, since when, and who holds it; ends with status 3 if anything "
    "does\n"
    "  heldby fetch [-o FILE] [-seconds N] [-token-file FILE] TARGET [PROFILE]\n"
    "      saves a profile, heap if none is named. TARGET: host:port, http://..., a process "
    "id,\n"
    "      unix:/path. Without -o: pprof.PROGRAM.TYPES.NNN.pb.gz in this folder\n"
    "  heldby top [options] FILE|TARGET ...\n"
    "      the functions that hold most, as go tool pprof -top prints them; -help lists "
    "options\n"
    "  heldby diff [-diff_base] [options] OLD NEW\n"
    "      what changed from one profile to the other\n"
    "  heldby text [options] FILE|TARGET ...\n"
    "      every stack with its labels, as go tool pprof -traces prints them\n"
    "  heldby convert IN OUT | -summary IN\n"
    "      turns a gperftools profile (heap, growth, CPU), or a dump of HELDBY_DUMP_DIR, into\n"
    "      a .pb.gz for go tool pprof\n"
    "  heldby version | help\n";

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  const heldby::tools::Arguments arguments(argv + (argc > 1 ? 2 : 1), argv + argc);
  if (command == "run") return heldby::tools::Run(arguments);
  if (command == "ls") return heldby::tools::List(arguments);
  if (command == "leaks") return heldby::tools::LeaksMain(arguments);
  if (command == "fetch") return heldby::tools::FetchMain(arguments);
  if (command == "top") return heldby::tools::TopMain(arguments);
  if (command == "diff") return heldby::tools::DiffMain(arguments);
  if (command == "text") return heldby::tools::TextMain(arguments);
  if (command == "convert") return heldby::ConvertMain(argc - 1, argv + 1);
  if (command == "version" || command == "--version") {
    std::puts("heldby " HELDBY_VERSION);
    return 0;
  }
  if (command == "help" || command == "--help" || command == "-h") {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (command.empty()) {
    std::fputs(kUsage, stderr);
  } else {
    std::fprintf(
        stderr,
        "heldby: unknown command \"%s\"; accepted: run, ls, leaks, fetch, top, diff, text, "
        "convert, version, help\n",
        std::string(command).c_str());
  }
  return 2;
}
