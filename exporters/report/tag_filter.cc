#include "exporters/report/tag_filter.h"

#include <cctype>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "exporters/report/pattern.h"
#include "exporters/report/units.h"
#include "profile/text.h"

namespace heldby::report {
namespace {

struct Quantity {
  std::int64_t number = 0;
  std::string unit;
};

// "+12kb" off the front of `text`.
std::optional<Quantity> TakeQuantity(std::string_view* text) {
  std::size_t at = text->starts_with('+') || text->starts_with('-');
  const std::size_t digits = at;
  while (at < text->size() && absl::ascii_isdigit(static_cast<unsigned char>((*text)[at])))
    ++at;
  Quantity quantity;
  if (at == digits || !absl::SimpleAtoi(AsPiece(text->substr(0, at)), &quantity.number)) {
    return std::nullopt;
  }
  const std::size_t unit = at;
  while (at < text->size() && absl::ascii_isalpha(static_cast<unsigned char>((*text)[at])))
    ++at;
  quantity.unit = text->substr(unit, at - unit);
  text->remove_prefix(at);
  return quantity;
}

struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  std::string unit;

  bool Has(std::int64_t number, std::string_view of_unit) const {
    const Scaled scaled = Scale(number, of_unit, unit);
    return scaled.unit == unit && scaled.value >= low && scaled.value <= high;
  }
};

// "32kb", ":64kb", "4mb:", "12kb:64mb". Nothing: not a range.
std::optional<Range> ParseRange(std::string_view text) {
  const bool is_upper = text.starts_with(':');
  if (is_upper) text.remove_prefix(1);
  const auto first = TakeQuantity(&text);
  if (!first) return std::nullopt;
  const Scaled scaled = Scale(first->number, first->unit, first->unit);
  Range range;
  range.unit = scaled.unit;
  if (!is_upper) range.low = scaled.value;
  if (is_upper || text.empty()) range.high = scaled.value;
  if (text.empty()) return range;
  if (is_upper || !text.starts_with(':')) return std::nullopt;
  text.remove_prefix(1);
  if (text.empty()) return range;
  const auto second = TakeQuantity(&text);
  if (!second || !text.empty()) return std::nullopt;
  const Scaled high = Scale(second->number, second->unit, range.unit);
  if (high.unit != range.unit) return std::nullopt;
  range.high = high.value;
  return range;
}

std::string_view UnitOf(const LabelUnits& units, std::string_view key) {
  const auto found = units.find(key);
  return found != units.end() ? std::string_view(found->second) : std::string_view();
}

}  // namespace

LabelUnits UnitsOfLabels(const Profile& profile) {
  LabelUnits units;
  for (const Sample& sample : profile.samples) {
    for (const Label& label : sample.labels) {
      if (!label.text.empty()) continue;
      std::string& unit = units[label.key];
      if (unit.empty()) unit = label.number_unit;
    }
  }
  for (auto& [key, unit] : units) {
    if (unit.empty()) unit = key == "alignment" || key == "request" ? "bytes" : key;
  }
  return units;
}

Result<TagFilter> CompileTagFilter(std::string_view name, std::string_view text,
                                   LabelUnits units) {
  std::string key;
  if (const auto equals = text.find('='); equals != text.npos) {
    key = text.substr(0, equals);
    text.remove_prefix(equals + 1);
  }
  if (const auto range = ParseRange(text)) {
    return TagFilter([key, range = *range, units = std::move(units)](const Sample& sample) {
      for (const Label& label : sample.labels) {
        if (!label.text.empty() || (!key.empty() && label.key != key)) continue;
        if (range.Has(label.number, UnitOf(units, label.key))) return true;
      }
      return false;
    });
  }
  std::vector<Pattern> patterns;
  for (absl::string_view part : absl::StrSplit(AsPiece(text), ',')) {
    auto pattern = Pattern::Compile(name, std::string_view(part.data(), part.size()));
    if (!pattern) return pattern.status();
    patterns.push_back(*std::move(pattern));
  }
  const auto has = [key](const Pattern& pattern, const Sample& sample) {
    for (const Label& label : sample.labels) {
      if (label.text.empty() || (!key.empty() && label.key != key)) continue;
      if (pattern.Found(key.empty() ? Concat(label.key, ":", label.text) : label.text)) {
        return true;
      }
    }
    return false;
  };
  // With a key one of them must match, without it each of them: that is what pprof does.
  return TagFilter([has, key, patterns = std::move(patterns)](const Sample& sample) {
    for (const Pattern& pattern : patterns) {
      if (has(pattern, sample) == !key.empty()) return !key.empty();
    }
    return key.empty();
  });
}

}  // namespace heldby::report
