// A program's own metrics on our page: whatever its text, what is kept of it is kept again, all
// of it, and is valid UTF-8.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "exporters/prometheus/text.h"
#include "profile/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heldby;  // NOLINT: a fuzz target is one function
  const std::string_view theirs(reinterpret_cast<const char*>(data), size);
  prometheus_text::FamilyNames written = {"taken"};
  std::string kept;
  (void)prometheus_text::AppendText(theirs, &written, &kept);
  if (ValidUtf8(kept) != kept) std::abort();
  prometheus_text::FamilyNames fresh;
  std::string again;
  if (prometheus_text::AppendText(kept, &fresh, &again) != 0 || again != kept) std::abort();
  return 0;
}
