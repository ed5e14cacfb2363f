// Arguments beside GoogleTest's: --wait-ms=N, --sample-bytes=N.
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "heldby/testing.h"

namespace {

long ValueOf(std::string_view name, int argc, char** argv, long otherwise) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(name)) return std::atol(argv[i] + name.size());
  }
  return otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  heldby::testing::FailOnLeftovers(
      {.ignore_names = {"kept for all*"},
       .ignore_functions = {"*KeepOnPurpose"},
       .ignore_labels = {"tenant=*"},
       .wait_ns = ValueOf("--wait-ms=", argc, argv, 2'000) * 1'000'000,
       .sample_bytes = ValueOf("--sample-bytes=", argc, argv, 1)});
  const pid_t process = getpid();
  const int result = RUN_ALL_TESTS();
  // A child that a test forked has a leak checker's opinion of what its parent forgot there.
  if (getpid() != process) _exit(result);
  return result;
}
