#include "exporters/prometheus/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "profile/text.h"
#include "profile/utf8.h"

namespace heldby::prometheus_text {
namespace {

bool IsName(std::string_view name, bool colons) {
  const auto is_part = [colons](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
           (colons && c == ':');
  };
  return !name.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(name[0])) &&
         std::ranges::all_of(name, is_part);
}

bool IsValid(const MetricFamily& family) {
  if (!IsName(family.name, /*colons=*/true)) return false;
  for (const MetricSample& sample : family.samples) {
    for (const auto& [name, value] : sample.labels) {
      if (!IsName(name, /*colons=*/false)) return false;
    }
  }
  return true;
}

void AppendEscaped(std::string_view value, bool quotes, std::string* text) {
  while (!value.empty()) {
    // One bad byte would cost the whole scrape.
    const std::string_view character = TakeUtf8Character(&value);
    if (character[0] == '\\') {
      *text += "\\\\";
    } else if (character[0] == '\n') {
      *text += "\\n";
    } else if (character[0] == '"' && quotes) {
      *text += "\\\"";
    } else {
      *text += character;
    }
  }
}

void AppendValue(double value, std::string* text) {
  if (std::isnan(value)) {
    *text += "Nan";
  } else if (std::isinf(value)) {
    *text += value > 0 ? "+Inf" : "-Inf";
  } else {
    // The shortest that reads back as the same number, whatever the program's locale.
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
    text->append(digits, end);
  }
}

void AppendSample(const std::string& name, const MetricSample& sample, std::string* text) {
  *text += name;
  char before = '{';
  for (const auto& [key, value] : sample.labels) {
    *text += before;
    absl::StrAppend(text, key, "=\"");
    AppendEscaped(value, /*quotes=*/true, text);
    *text += '"';
    before = ',';
  }
  if (before == ',') *text += '}';
  *text += ' ';
  AppendValue(sample.value, text);
  *text += '\n';
}

void AppendFamily(const MetricFamily& family, std::string* text) {
  if (!family.help.empty()) {
    absl::StrAppend(text, "# HELP ", family.name, " ");
    AppendEscaped(family.help, /*quotes=*/false, text);
    *text += '\n';
  }
  absl::StrAppend(text, "# TYPE ", family.name,
                  family.type == MetricType::kCounter ? " counter\n" : " gauge\n");
  for (const MetricSample& sample : family.samples) AppendSample(family.name, sample, text);
}

// "# HELP name ..." and "# TYPE name ...": the name; else empty.
std::string_view NameInComment(std::string_view line) {
  if (!line.starts_with("# HELP ") && !line.starts_with("# TYPE ")) return {};
  line.remove_prefix(7);
  return line.substr(0, line.find(' '));
}

std::string_view NameInSample(std::string_view line) {
  return line.substr(0, line.find_first_of("{ \t"));
}

// A histogram's and a summary's samples have names of their own.
bool BelongsTo(std::string_view sample, std::string_view family) {
  if (!sample.starts_with(family)) return false;
  sample.remove_prefix(family.size());
  return sample.empty() || sample == "_bucket" || sample == "_sum" || sample == "_count" ||
         sample == "_total";
}

std::string_view SkipBlanks(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return text;
}

// "{key="value",...}", and nothing else of a label's value than what ends it matters: it may
// be anything. False: that is not what the text begins with.
bool ConsumeLabels(std::string_view* text) {
  FlatHashSet<std::string_view> keys;  // a line may be 1 MiB of them
  text->remove_prefix(1);
  while (true) {
    *text = SkipBlanks(*text);
    if (text->starts_with('}')) break;
    const std::size_t equals = text->find('=');
    if (equals == text->npos) return false;
    std::string_view key = text->substr(0, equals);
    key = key.substr(0, key.find_last_not_of(" \t") + 1);
    if (!IsName(key, /*colons=*/false) || key == "__name__") return false;
    if (!keys.insert(key).second) return false;
    *text = SkipBlanks(text->substr(equals + 1));
    if (!text->starts_with('"')) return false;
    std::size_t end = 1;
    while (end < text->size() && (*text)[end] != '"') end += (*text)[end] == '\\' ? 2 : 1;
    if (end >= text->size()) return false;
    *text = SkipBlanks(text->substr(end + 1));
    if (text->starts_with('}')) break;
    if (!text->starts_with(',')) return false;
    text->remove_prefix(1);
  }
  text->remove_prefix(1);
  return true;
}

// What Go's ParseFloat takes, which is less than absl::SimpleAtod: no sign before a nan (printf
// writes "-nan"), no hexadecimal digits, nothing out of range.
bool IsValue(std::string_view word) {
  double value = 0;
  if (word.find_first_not_of("0123456789+-.eEinfatyINFATY") != word.npos) return false;
  if (!absl::SimpleAtod(AsPiece(word), &value)) return false;
  if (std::isnan(value)) return word[0] != '+' && word[0] != '-';
  return !std::isinf(value) || word.find_first_of("0123456789") == word.npos;
}

bool IsTime(std::string_view word) {
  std::int64_t time_ms = 0;
  return word.find_first_not_of("0123456789") == word.npos &&
         absl::SimpleAtoi(AsPiece(word), &time_ms);
}

// "name{labels} value timestamp": one line that is none costs the whole scrape.
bool IsSample(std::string_view line) {
  line.remove_prefix(NameInSample(line).size());
  if (line.starts_with('{') && !ConsumeLabels(&line)) return false;
  line = SkipBlanks(line);
  const std::string_view value = line.substr(0, line.find_first_of(" \t"));
  if (!IsValue(value)) return false;
  line = SkipBlanks(line.substr(value.size()));
  line.remove_suffix(line.size() - (line.find_last_not_of(" \t") + 1));
  return line.empty() || IsTime(line);
}

bool IsComment(std::string_view line, std::string_view name) {
  if (line.starts_with("# HELP ")) return true;
  line.remove_prefix(std::min(line.size(), 7 + name.size() + 1));
  constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram", "summary", "untyped"};
  return std::ranges::find(kTypes, line) != std::end(kTypes);
}

}  // namespace

int AppendFamilies(const std::vector<MetricFamily>& families, FamilyNames* written,
                   std::string* text) {
  int left_out = 0;
  for (const MetricFamily& family : families) {
    if (!IsValid(family) || !written->insert(family.name).second) {
      ++left_out;
      continue;
    }
    AppendFamily(family, text);
  }
  return left_out;
}

int AppendText(std::string_view theirs, FamilyNames* written, std::string* text) {
  // Labels may come from the program's clients.
  const std::string valid = ValidUtf8(theirs);
  std::string_view left = valid;
  int left_out = 0;
  std::string family;
  bool is_shown = false;
  while (!left.empty()) {
    const std::size_t end = left.find('\n');
    if (end == left.npos) return left_out + 1;  // cut off: not to be believed
    const std::string_view line = left.substr(0, end);
    left.remove_prefix(end + 1);
    if (line.empty()) continue;
    const bool is_comment = line[0] == '#';
    const std::string_view name = is_comment ? NameInComment(line) : NameInSample(line);
    if (is_comment && name.empty()) continue;  // a remark, or OpenMetrics' end
    // Before the first family there is none that a line could belong to, whatever its name.
    const bool is_part =
        !is_comment && BelongsTo(name, family) && !written->contains(AsPiece(name));
    const bool is_same = !family.empty() && (name == family || is_part);
    if (!is_same) {
      family = std::string(name);
      is_shown = IsName(name, /*colons=*/true) && written->insert(family).second;
      if (!is_shown) ++left_out;
    }
    if (is_shown && !(is_comment ? IsComment(line, name) : IsSample(line))) {
      is_shown = false;  // the rest of the family with it: what it says is not to be believed
      ++left_out;
    }
    if (is_shown) absl::StrAppend(text, AsPiece(line), "\n");
  }
  return left_out;
}

}  // namespace heldby::prometheus_text
