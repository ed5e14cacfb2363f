// A service that waits by Abseil.
#include <heldby/absl.h>

#include <cstdio>

int main() {
  const heldby::Status status = heldby::RegisterAbslMutexProfiler();
  std::puts(status.ok() ? "registered" : status.message().c_str());
  return status.ok() ? 0 : 1;
}
