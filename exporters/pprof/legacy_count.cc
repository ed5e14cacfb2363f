// Go's counts and both kinds of contention text.
#include <cstdint>
#include <string_view>
#include <utility>

#include "exporters/pprof/legacy_parts.h"
#include "profile/arithmetic.h"
#include "profile/drop_frames.h"

namespace heldby::legacy {
namespace {

// "<name> profile: total <n>"; empty if the line is anything else.
std::string_view CountedName(std::string_view line) {
  Cursor cursor(line);
  const std::string_view name = cursor.TakeWord();
  std::int64_t total = 0;
  const bool fits = cursor.Take("profile:") && cursor.Take("total") && cursor.TakeInt(&total) &&
                    cursor.rest().empty();
  return fits ? name : std::string_view();
}

// The header of contention text, "key = value" by line.
struct ContentionHeader {
  std::int64_t cycles_per_second = 0;
  std::int64_t sampling_period = 1;
  std::int64_t since_reset_ms = 0;
};

Status ParseAttribute(const Lines& lines, std::string_view key, Cursor value,
                      ContentionHeader* header) {
  std::int64_t ignored = 0;
  std::int64_t* target = nullptr;
  if (key == "cycles/second") {
    target = &header->cycles_per_second;
  } else if (key == "sampling period") {
    target = &header->sampling_period;
  } else if (key == "ms since reset") {
    target = &header->since_reset_ms;
  } else if (key == "discarded samples") {
    target = &ignored;
  } else {
    return lines.Bad("\"", key, "\" is not an attribute of a contention profile");
  }
  if (!value.TakeInt(target)) return lines.Bad("the value of \"", key, "\" is not a number");
  return Status();
}

Status ParseContentionRecord(const Lines& lines, const ContentionHeader& header,
                             Draft::Record* record) {
  Cursor cursor(lines.line());
  std::int64_t cycles = 0;
  std::int64_t count = 0;
  if (!cursor.TakeInt(&cycles) || !cursor.TakeInt(&count) || !cursor.Take("@")) {
    return lines.Bad("expected \"<cycles> <count> @ <addresses>\"");
  }
  if (!TakeCallAddresses(&cursor, &record->stack)) {
    return lines.Bad("\"", cursor.rest(), "\" is not a list of 64-bit addresses");
  }
  std::int64_t delay_ns = cycles;
  if (header.sampling_period > 0) {
    if (header.cycles_per_second > 0) {
      const double cycles_per_ns = static_cast<double>(header.cycles_per_second) / 1e9;
      delay_ns = SaturatingCast(static_cast<double>(cycles) *
                                static_cast<double>(header.sampling_period) / cycles_per_ns);
    }
    count = SaturatingMultiply(count, header.sampling_period);
  }
  record->values = {count, delay_ns};
  return Status();
}

}  // namespace

bool IsCount(std::string_view bytes) {
  Lines lines(bytes.substr(0, 4096));
  while (lines.Next()) {
    if (!IsBlank(lines.line())) return !CountedName(lines.line()).empty();
  }
  return false;
}

Result<Profile> ParseCount(std::string_view bytes, Budget* budget) {
  Lines lines(bytes);
  while (lines.Next() && IsBlank(lines.line())) {
  }
  const std::string name(CountedName(lines.line()));
  Draft draft;
  draft.sample_types = {{name, "count"}};
  draft.period_type = {name, "count"};
  draft.period = 1;
  while (lines.Next() && !lines.line().starts_with("---") && !IsMapsHeading(lines.line())) {
    if (IsBlank(lines.line())) continue;
    Cursor cursor(lines.line());
    Draft::Record record;
    std::int64_t count = 0;
    if (!cursor.TakeInt(&count) || !cursor.Take("@") ||
        !TakeCallAddresses(&cursor, &record.stack)) {
      return lines.Bad("expected \"<count> @ <addresses>\"");
    }
    record.values = {count};
    draft.records.push_back(std::move(record));
  }
  return Finish(std::move(draft), lines.rest(), budget);
}

bool IsContention(std::string_view bytes) {
  return bytes.starts_with("--- contentionz ") || bytes.starts_with("--- contention:") ||
         bytes.starts_with("--- mutex:");
}

Result<Profile> ParseContention(std::string_view bytes, Budget* budget) {
  Lines lines(bytes);
  lines.Next();
  ContentionHeader header;
  Draft draft;
  while (lines.Next() && !lines.line().starts_with("---") && !IsMapsHeading(lines.line())) {
    const std::string_view line = lines.line();
    if (IsBlank(line)) continue;
    if (const std::size_t sign = line.find('='); sign != line.npos) {
      std::string_view key = line.substr(0, sign);
      while (key.ends_with(' ')) key.remove_suffix(1);
      Status status = ParseAttribute(lines, key, Cursor(line.substr(sign + 1)), &header);
      if (!status.ok()) return status;
      continue;
    }
    Draft::Record record;
    if (Status status = ParseContentionRecord(lines, header, &record); !status.ok())
      return status;
    draft.records.push_back(std::move(record));
  }
  draft.sample_types = {{"contentions", "count"}, {"delay", "nanoseconds"}};
  draft.period_type = {"contentions", "count"};
  draft.period = header.sampling_period;
  draft.duration_ns = SaturatingMultiply(header.since_reset_ms, 1'000'000);
  draft.drop_frames = kContentionDropFrames;
  return Finish(std::move(draft), lines.rest(), budget);
}

}  // namespace heldby::legacy
