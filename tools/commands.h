// tools/commands.h - one function per subcommand of `heldby`.
//
// Each takes what follows the subcommand on the command line and returns the exit status:
// 0 done, 1 it did not work (one line on stderr says why), 2 wrong usage, 3 there are leaks.
#pragma once

#include <string_view>
#include <vector>

namespace heldby::tools {

using Arguments = std::vector<std::string_view>;

/// heldby run [options] -- command [arguments]: replaces this process; returns only on failure.
int Run(const Arguments& arguments);

/// heldby ls: the processes of this user that serve an endpoint.
int List(const Arguments& arguments);

/// heldby leaks [options] TARGET: what /debug/leaks says; 3: it names leaks.
int LeaksMain(const Arguments& arguments);

/// heldby fetch [options] TARGET [PROFILE]: a profile of a server into a file.
int FetchMain(const Arguments& arguments);

/// heldby top|diff|text [options] FILE|TARGET...: reports as `go tool pprof` prints them.
int TopMain(const Arguments& arguments);
int DiffMain(const Arguments& arguments);
int TextMain(const Arguments& arguments);

}  // namespace heldby::tools
