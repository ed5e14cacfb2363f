#include "exporters/http/target.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> Unescape(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      decoded.push_back(' ');
    } else if (text[i] != '%') {
      decoded.push_back(text[i]);
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return decoded;
}

}  // namespace

std::string Quoted(std::string_view text) {
  constexpr std::size_t kMaxQuotedBytes = 64;
  const bool cut = text.size() > kMaxQuotedBytes;
  return Concat("\"", absl::CHexEscape(AsPiece(text.substr(0, kMaxQuotedBytes))),
                cut ? "...\"" : "\"");
}

Result<Target> ParseTarget(std::string_view target) {
  // The query goes into a redirect's Location as it was sent.
  if (std::ranges::any_of(target, [](unsigned char c) { return c <= ' ' || c == 0x7f; })) {
    return Status(StatusCode::kInvalidArgument,
                  Concat("request target ", Quoted(target),
                         " has a character that must be percent-encoded"));
  }
  Target parsed;
  std::string_view rest = target;
  const auto scheme_end = rest.find("://");
  if (!rest.empty() && rest[0] != '/' && scheme_end != rest.npos) {
    rest.remove_prefix(scheme_end + 3);
    const auto authority_end = std::min(rest.find_first_of("/?"), rest.size());
    parsed.authority = rest.substr(0, authority_end);
    rest.remove_prefix(authority_end);
    if (parsed.authority.empty()) {
      return Status(StatusCode::kInvalidArgument,
                    Concat("request target ", Quoted(target), " names no host"));
    }
  } else if (rest.empty() || rest[0] != '/') {
    return Status(StatusCode::kInvalidArgument,
                  Concat("request target ", Quoted(target), " must begin with \"/\""));
  }
  rest = rest.substr(0, rest.find('#'));
  const auto question = rest.find('?');
  if (question != rest.npos) parsed.raw_query = rest.substr(question + 1);
  const std::string_view raw_path = rest.substr(0, question);
  auto path = Unescape(raw_path, /*plus_is_space=*/false);
  if (!path) {
    return Status(StatusCode::kInvalidArgument,
                  Concat("invalid percent-encoding in path ", Quoted(raw_path)));
  }
  parsed.path = path->empty() ? "/" : *std::move(path);
  return parsed;
}

Result<Query> Query::Parse(std::string_view raw_query) {
  Query query;
  for (absl::string_view pair : absl::StrSplit(AsPiece(raw_query), '&')) {
    if (pair.empty()) continue;
    const std::string_view text(pair.data(), pair.size());
    const auto equals = text.find('=');
    const std::string_view raw_name = text.substr(0, equals);
    auto name = Unescape(raw_name, /*plus_is_space=*/true);
    if (!name) {
      return Status(
          StatusCode::kInvalidArgument,
          Concat("invalid percent-encoding in query parameter name ", Quoted(raw_name)));
    }
    auto value = equals == text.npos
                     ? std::string()
                     : Unescape(text.substr(equals + 1), /*plus_is_space=*/true);
    if (!value) {
      return Status(
          StatusCode::kInvalidArgument,
          Concat("invalid percent-encoding in the value of query parameter ", Quoted(*name)));
    }
    query.parameters_.emplace_back(*std::move(name), *std::move(value));
  }
  return query;
}

std::string_view Query::Get(std::string_view name) const {
  for (const auto& [key, value] : parameters_) {
    if (key == name) return value;
  }
  return {};
}

std::optional<std::int64_t> ParseInteger(std::string_view text) {
  // from_chars knows "-" but not "+"; "+-5" must stay an error.
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace heldby::http
