#include "exporters/http/leak_watch_options.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "core/base/setting.h"
#include "heldby/self.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

void Say(std::string_view variable, std::string_view value, std::string_view accepted) {
  const std::string line =
      Concat("heldby: ", variable, " is \"", absl::CHexEscape(AsPiece(value.substr(0, 128))),
             "\"; accepted: ", accepted, "; the default is taken\n");
  WriteErrorLine(line);
}

std::string_view Variable(const char* name) {
  const char* value = core::Setting(name);
  return value != nullptr ? value : "";
}

struct FromEnvironment {
  bool is_off = false;
  LeakWatchOptions options{};
};

FromEnvironment ReadEnvironment() {
  FromEnvironment read;
  if (const auto text = Variable("HELDBY_LEAKS_WINDOW"); !text.empty()) {
    absl::Duration window;
    const bool is_number = absl::ParseDuration(AsPiece(text), &window);
    if (is_number && window == absl::ZeroDuration()) {
      read.is_off = true;
    } else if (is_number && window >= absl::Seconds(1) && window <= absl::Hours(240)) {
      read.options.window = absl::ToChronoNanoseconds(window);
    } else {
      Say("HELDBY_LEAKS_WINDOW", text, "0 (off), or a time of 1s to 240h, such as 10m");
    }
  }
  if (const auto text = Variable("HELDBY_HISTORY_BYTES"); !text.empty()) {
    std::uint64_t bytes = 0;
    if (absl::SimpleAtoi(AsPiece(text), &bytes) && bytes >= 65'536 && bytes <= (1ull << 34)) {
      read.options.history_bytes = bytes;
    } else {
      Say("HELDBY_HISTORY_BYTES", text, "65536 to 17179869184");
    }
  }
  read.options.expected_file = std::string(Variable("HELDBY_LEAKS_EXPECTED"));
  return read;
}

}  // namespace

Result<std::optional<LeakWatch>> StartWatch(const std::optional<LeakWatchOptions>& given) {
  if (given) {
    auto watch = LeakWatch::Start(*given);
    if (!watch) return watch.status();
    return std::optional<LeakWatch>(*std::move(watch));
  }
  FromEnvironment read = ReadEnvironment();
  if (read.is_off) return std::optional<LeakWatch>();
  auto watch = LeakWatch::Start(read.options);
  if (!watch && watch.status().code() == StatusCode::kInvalidArgument) {
    Say("HELDBY_LEAKS_EXPECTED", read.options.expected_file, watch.status().message());
    read.options.expected_file.clear();
    watch = LeakWatch::Start(read.options);
  }
  // Without it the endpoint still serves: the past is what is missing then, and the page says
  // so.
  if (!watch) return std::optional<LeakWatch>();
  return std::optional<LeakWatch>(*std::move(watch));
}

}  // namespace heldby::http
