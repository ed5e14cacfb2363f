// The library that dl_storm.cc loads and unloads.
#include <stdexcept>
#include <string>
#include <vector>

extern "C" __attribute__((visibility("default"))) void ThrowingPlugin(int depth) {
  std::vector<std::string> ballast(10, std::string(100, 'b'));
  if (depth > 0) ThrowingPlugin(depth - 1);
  throw std::runtime_error("thrown in a plugin: " + ballast[0]);
}
