// The least a service does to be seen: one include, one line, one endpoint.
#include <heldby/heldby.h>

#include <cstdio>
#include <vector>

__attribute__((noinline)) std::vector<char> HoldMemory() {
  return std::vector<char>(64 * 1024 * 1024, 'x');
}

int main() {
  auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  if (!server) {
    std::fprintf(stderr, "%s\n", server.status().message().c_str());
    return 1;
  }
  const std::vector<char> held = HoldMemory();
  std::printf("serves %s\n", server->address().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return held.size() == 64 * 1024 * 1024 ? 0 : 1;
}
