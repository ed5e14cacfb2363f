// The library that loader_test.cc loads and unloads.
#include <stdexcept>

extern "C" __attribute__((visibility("default"))) void CallAndThrow(void (*then)()) {
  then();
  throw std::runtime_error("thrown in a library");
}
