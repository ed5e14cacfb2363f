#include <algorithm>
#include <cstdint>

#include "exporters/pprof/dump.h"
#include "exporters/pprof/dump_parts.h"
#include "exporters/pprof/legacy_parts.h"
#include "profile/dump_format.h"
#include "profile/utf8.h"

namespace heldby {
namespace {

using legacy::Cursor;

// One half of a box, if it is whole.
struct Half {
  std::uint64_t sequence = 0;
  std::string_view text;
};

Half ReadHalf(std::string_view bytes) {
  bytes = bytes.substr(0, dump::kBoxHalfBytes);
  if (!bytes.starts_with(dump::kBoxMagic) || bytes.size() < dump::kBoxHeadingBytes) return {};
  Cursor cursor(
      bytes.substr(dump::kBoxMagic.size(), dump::kBoxHeadingBytes - dump::kBoxMagic.size()));
  std::int64_t sequence = 0;
  std::int64_t size = 0;
  std::uint64_t sum = 0;
  bytes.remove_prefix(dump::kBoxHeadingBytes);
  if (!cursor.TakeInt(&sequence) || !cursor.TakeInt(&size) || !cursor.TakeHex(&sum) ||
      sequence <= 0 || size < 0 || static_cast<std::uint64_t>(size) > bytes.size()) {
    return {};
  }
  const Half half{static_cast<std::uint64_t>(sequence),
                  bytes.substr(0, static_cast<std::size_t>(size))};
  return dump::BoxSum(half.sequence, half.text) == sum ? half : Half();
}

std::string_view SecondHalf(std::string_view bytes) {
  return bytes.substr(std::min(bytes.size(), dump::kBoxHalfBytes));
}

}  // namespace

Result<std::string_view> DumpTextOf(std::string_view bytes) {
  if (bytes.starts_with(dump::kMagic)) return bytes;
  const Half first = ReadHalf(bytes);
  const Half second = ReadHalf(SecondHalf(bytes));
  const Half& newer = first.sequence > second.sequence ? first : second;
  if (newer.sequence == 0) {
    return Status(StatusCode::kDataLoss, "a black box of which neither half is whole");
  }
  return newer.text;
}

std::string Unescaped(std::string_view field) {
  if (field == "-") return {};
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  std::string raw;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '%' && i + 2 < field.size() && digit(field[i + 1]) >= 0 &&
        digit(field[i + 2]) >= 0) {
      raw += static_cast<char>(digit(field[i + 1]) * 16 + digit(field[i + 2]));
      i += 2;
    } else {
      raw += field[i];
    }
  }
  return ValidUtf8(raw);
}

bool IsDump(std::string_view bytes) {
  return bytes.starts_with(dump::kMagic) || bytes.starts_with(dump::kBoxMagic) ||
         SecondHalf(bytes).starts_with(dump::kBoxMagic);
}

Result<std::string_view> DumpSummary(std::string_view bytes) {
  const Result<std::string_view> text = DumpTextOf(bytes);
  if (!text.ok()) return text.status();
  return text->substr(0, text->find(dump::kRecordsHeading));
}

}  // namespace heldby
