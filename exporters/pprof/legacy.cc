#include "exporters/pprof/legacy.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <system_error>

#include "exporters/pprof/legacy_parts.h"
#include "profile/text.h"

namespace heldby {
namespace legacy {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

// At worst, with vectors that have just doubled: a record of a draft, its four values, the
// sample of its own that it becomes, its label and its place in the interner. A mapping takes
// less.
constexpr std::size_t kRecordBytes = 512;
constexpr std::size_t kAddressBytes = 8 + 4;         // in the draft and as an id in a stack
constexpr std::size_t kLocationBytes = 2 * 40 + 16;  // the table may have just doubled

}  // namespace

bool Budget::Take(std::size_t bytes) {
  if (bytes > left_bytes_) return false;
  left_bytes_ -= bytes;
  return true;
}

bool Budget::TakeText(std::string_view text) {
  for (Lines lines(text); lines.Next();) {
    const std::string_view line = lines.line();
    if (IsBlank(line)) continue;
    std::size_t addresses = 0;
    for (std::size_t at = line.find("0x"); at != line.npos; at = line.find("0x", at + 2)) {
      ++addresses;
    }
    if (!TakeRecord(addresses) || !Take(line.size())) return false;
  }
  return true;
}

bool Budget::TakeRecord(std::size_t depth) {
  return depth <= left_bytes_ / kAddressBytes && Take(kRecordBytes + depth * kAddressBytes);
}

bool Budget::TakeLocation() { return Take(kLocationBytes); }

Status Budget::Exceeded() {
  return Status(StatusCode::kResourceExhausted,
                "the profile would take more than 512 MiB of memory");
}

bool Lines::Next() {
  if (rest_.empty()) {
    line_ = {};
    return false;
  }
  const std::size_t end = rest_.find('\n');
  line_ = Trimmed(rest_.substr(0, end));
  rest_ = end == std::string_view::npos ? std::string_view() : rest_.substr(end + 1);
  ++number_;
  return true;
}

Status Lines::BadLine(std::string_view message) const {
  return Status(StatusCode::kDataLoss, Concat("line ", number_, ": ", message));
}

void Cursor::SkipBlanks() {
  while (!rest_.empty() && IsSpace(rest_.front())) rest_.remove_prefix(1);
}

bool Cursor::Take(std::string_view token) {
  SkipBlanks();
  if (!rest_.starts_with(token)) return false;
  rest_.remove_prefix(token.size());
  return true;
}

bool Cursor::TakeInt(std::int64_t* value) {
  SkipBlanks();
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), *value);
  if (error != std::errc()) return false;
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  return true;
}

bool Cursor::TakeHex(std::uint64_t* value) {
  SkipBlanks();
  const auto [end, error] =
      std::from_chars(rest_.data(), rest_.data() + rest_.size(), *value, 16);
  if (error != std::errc()) return false;
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  return true;
}

std::string_view Cursor::TakeWord() {
  SkipBlanks();
  std::size_t size = 0;
  while (size < rest_.size() && !IsSpace(rest_[size])) ++size;
  const std::string_view word = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return word;
}

bool IsBlank(std::string_view line) { return line.empty() || line.front() == '#'; }

bool IsMapsHeading(std::string_view line) {
  return line.find("MAPPED_LIBRARIES:") != std::string_view::npos ||
         line.find("--- Memory map: ---") != std::string_view::npos;
}

bool TakeCallAddresses(Cursor* cursor, std::vector<std::uint64_t>* addresses) {
  std::uint64_t address = 0;
  while (cursor->Take("0x")) {
    if (!cursor->TakeHex(&address)) return false;
    addresses->push_back(address - 1);
  }
  cursor->SkipBlanks();
  return cursor->rest().empty();
}

}  // namespace legacy

bool IsLegacy(std::string_view bytes) {
  return legacy::IsHeap(bytes) || legacy::IsCount(bytes) || legacy::IsContention(bytes) ||
         legacy::IsCpu(bytes);
}

Result<Profile> ParseLegacy(std::string_view bytes) try {
  legacy::Budget budget;
  if (legacy::IsCpu(bytes)) return legacy::ParseCpu(bytes, &budget);
  if (IsLegacy(bytes) && !budget.TakeText(bytes)) return legacy::Budget::Exceeded();
  if (legacy::IsHeap(bytes)) return legacy::ParseHeap(bytes, &budget);
  if (legacy::IsContention(bytes)) return legacy::ParseContention(bytes, &budget);
  if (legacy::IsCount(bytes)) return legacy::ParseCount(bytes, &budget);
  return Status(StatusCode::kDataLoss,
                "byte 0: not a heap, growth, CPU, contention or count profile");
} catch (const std::bad_alloc&) {
  return Status(StatusCode::kResourceExhausted, "no memory to convert the profile");
} catch (const std::exception& error) {
  return Status(StatusCode::kInternal, error.what());
}

}  // namespace heldby
