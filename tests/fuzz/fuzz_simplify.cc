// SimplifyFunctionName(): whatever the name, nothing longer than it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "profile/simplify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view name(reinterpret_cast<const char*>(data), size);
  if (heldby::SimplifyFunctionName(name).size() > name.size()) std::abort();
  return 0;
}
