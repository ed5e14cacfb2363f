// A library that comes and goes, and leaves memory behind.
#include <cstdlib>

extern "C" __attribute__((noinline)) void* PluginAllocate() { return std::malloc(7000); }
