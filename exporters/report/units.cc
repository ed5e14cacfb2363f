#include "exporters/report/units.h"

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "profile/text.h"

namespace heldby::report {
namespace {

struct Unit {
  std::string_view name;
  std::array<std::string_view, 3> aliases;
  double factor;
};

constexpr Unit kMemory[] = {
    {"B", {"b", "byte"}, 1},
    {"kB", {"kb", "kbyte", "kilobyte"}, 0x1p10},
    {"MB", {"mb", "mbyte", "megabyte"}, 0x1p20},
    {"GB", {"gb", "gbyte", "gigabyte"}, 0x1p30},
    {"TB", {"tb", "tbyte", "terabyte"}, 0x1p40},
    {"PB", {"pb", "pbyte", "petabyte"}, 0x1p50},
};
constexpr Unit kTime[] = {
    {"ns", {"ns", "nanosecond"}, 1},    {"us", {"us", "microsecond"}, 1e3},
    {"ms", {"ms", "millisecond"}, 1e6}, {"s", {"s", "sec", "second"}, 1e9},
    {"hrs", {"hour", "hr"}, 3600e9},
};
constexpr Unit kGcu[] = {
    {"n*GCU", {"nanogcu"}, 1e-9}, {"u*GCU", {"microgcu"}, 1e-6}, {"m*GCU", {"milligcu"}, 1e-3},
    {"GCU", {"gcu"}, 1},          {"k*GCU", {"kilogcu"}, 1e3},   {"M*GCU", {"megagcu"}, 1e6},
    {"G*GCU", {"gigagcu"}, 1e9},  {"T*GCU", {"teragcu"}, 1e12},  {"P*GCU", {"petagcu"}, 1e15},
};

struct Family {
  std::span<const Unit> units;
  const Unit& base;  // for 0, and for a target of another family
};
constexpr Family kFamilies[] = {{kMemory, kMemory[0]}, {kTime, kTime[3]}, {kGcu, kGcu[3]}};

const Unit* Find(const Family& family, std::string_view name) {
  std::string word = absl::AsciiStrToLower(AsPiece(name));
  if (word.size() > 2 && word.back() == 's') word.pop_back();
  for (const Unit& unit : family.units) {
    for (std::string_view alias : unit.aliases) {
      if (!alias.empty() && alias == word) return &unit;
    }
  }
  return nullptr;
}

bool IsAuto(std::string_view unit) { return unit == "minimum" || unit == "auto"; }

const Unit& UnitFor(const Family& family, double value, std::string_view to) {
  if (!IsAuto(to)) {
    const Unit* named = Find(family, to);
    return named != nullptr ? *named : family.base;
  }
  const Unit* best = nullptr;
  for (const Unit& unit : family.units) {
    if (value / unit.factor >= 1.0) best = &unit;
  }
  return best != nullptr ? *best : family.base;
}

}  // namespace

Scaled Scale(std::int64_t value, std::string_view from, std::string_view to) {
  if (value < 0 && value != std::numeric_limits<std::int64_t>::min()) {
    Scaled positive = Scale(-value, from, to);
    positive.value = -positive.value;
    return positive;
  }
  for (const Family& family : kFamilies) {
    const Unit* unit = Find(family, from);
    if (unit == nullptr) continue;
    const double base_value = static_cast<double>(value) * unit->factor;
    const Unit& target = UnitFor(family, base_value, to);
    return {base_value / target.factor, std::string(target.name)};
  }
  const bool is_plain = to == "count" || to == "sample" || to == "unit" || IsAuto(to);
  return {static_cast<double>(value), is_plain ? "" : std::string(to)};
}

std::string ScaledText(std::int64_t value, std::string_view from, std::string_view to) {
  const Scaled scaled = Scale(value, from, to);
  std::string number = absl::StrFormat("%.2f", scaled.value);
  if (number.ends_with(".00")) number.resize(number.size() - 3);
  return number == "0" || number == "-0" ? "0" : number + scaled.unit;
}

std::string Percentage(std::int64_t value, std::int64_t total) {
  double percent = 0;
  if (total != 0) {
    percent = std::abs(static_cast<double>(value) / static_cast<double>(total)) * 100;
  }
  if (percent >= 99.95 && percent <= 100.05) return "  100%";
  return percent >= 1.0 ? absl::StrFormat("%5.2f%%", percent)
                        : absl::StrFormat("%5.2g%%", percent);
}

}  // namespace heldby::report
