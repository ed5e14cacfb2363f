// What the host and heldby-symbolizer tell each other: whatever the bytes, what is read is
// within its bounds, and says the same when it is written again.
//
// Input: a byte (even: a request, odd: an answer), then the bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "symbolize/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heldby::symbolize;  // NOLINT: a fuzz target is one function
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    std::vector<WireModule> modules;
    if (DecodeRequest(bytes, &modules) && EncodeRequest(modules) != bytes) std::abort();
    if (modules.size() > kMaxWireModules) std::abort();
    return 0;
  }
  std::string again;
  const bool whole =
      DecodeAnswer(bytes, [&](std::uint32_t module, std::uint32_t address, Frames frames) {
        if (frames.size() > kMaxWireFrames) std::abort();
        again += EncodeRecord(module, address, frames);
      });
  if (whole) again += EncodeEnd().substr(0, sizeof(std::uint32_t));  // of the rest, all is said
  if (again != bytes.substr(0, again.size())) std::abort();
  return 0;
}
