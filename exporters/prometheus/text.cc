#include "exporters/prometheus/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
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
    const std::size_t size = Utf8CharacterBytes(value);
    if (size == 0) {
      *text += kReplacementCharacter;  // one bad byte would cost the whole scrape
    } else if (value[0] == '\\') {
      *text += "\\\\";
    } else if (value[0] == '\n') {
      *text += "\\n";
    } else if (value[0] == '"' && quotes) {
      *text += "\\\"";
    } else {
      text->append(value.substr(0, size));
    }
    value.remove_prefix(std::max<std::size_t>(size, 1));
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
  return line.substr(0, line.find_first_of("{ "));
}

// A histogram's and a summary's samples have names of their own.
bool BelongsTo(std::string_view sample, std::string_view family) {
  if (!sample.starts_with(family)) return false;
  sample.remove_prefix(family.size());
  return sample.empty() || sample == "_bucket" || sample == "_sum" || sample == "_count" ||
         sample == "_total";
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
  int left_out = 0;
  std::string family;
  bool is_shown = false;
  while (!theirs.empty()) {
    const std::size_t end = theirs.find('\n');
    if (end == theirs.npos) return left_out + 1;  // cut off: not to be believed
    const std::string_view line = theirs.substr(0, end);
    theirs.remove_prefix(end + 1);
    if (line.empty()) continue;
    const bool is_comment = line[0] == '#';
    const std::string_view name = is_comment ? NameInComment(line) : NameInSample(line);
    if (is_comment && name.empty()) continue;  // a remark, or OpenMetrics' end
    if (is_comment ? name != family : !BelongsTo(name, family)) {
      family = std::string(name);
      is_shown = IsName(name, /*colons=*/true) && written->insert(family).second;
      if (!is_shown) ++left_out;
    }
    if (is_shown) absl::StrAppend(text, AsPiece(line), "\n");
  }
  return left_out;
}

}  // namespace heldby::prometheus_text
