#include "exporters/http/table_page.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "exporters/http/reply.h"
#include "exporters/trace/json_text.h"
#include "profile/text.h"
#include "profile/utf8.h"

namespace heldby::http {
namespace {

constexpr std::size_t kDefaultLimit = 200;
constexpr std::int64_t kMostRows = 100'000;
constexpr std::size_t kMostPaddingBytes = 4 << 20;  // of a column, for all its rows

std::string Text(const Cell& cell) {
  const auto* number = std::get_if<std::int64_t>(&cell);
  return number != nullptr ? std::to_string(*number) : std::get<std::string>(cell);
}

std::string MoreLine(const TablePage& page) {
  if (page.rows_total <= page.rows.size()) return {};
  const std::size_t more = page.rows_total - page.rows.size();
  return page.is_full ? Concat(more, " more: a page has at most ", kMostRowBytes, " bytes")
                      : Concat(more, " more; limit=N shows N rows");
}

Response AsText(const TablePage& page) {
  std::vector<std::size_t> widths;
  for (const Column& column : page.columns) widths.push_back(column.name.size());
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : page.rows) {
    std::vector<std::string>& texts = rows.emplace_back();
    for (std::size_t i = 0; i < row.size(); ++i) {
      texts.push_back(Printable(Text(row[i])));
      widths[i] = std::max(widths[i], texts.back().size());
    }
  }
  // One long cell must not make a hundred thousand others as long.
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::size_t most = kMostPaddingBytes / std::max<std::size_t>(rows.size(), 1);
    widths[i] = std::min(widths[i], std::max(most, page.columns[i].name.size()));
  }
  std::string body = Concat(page.introduction, "\n\n");
  const auto append = [&](std::size_t i, std::string_view text) {
    const std::string room(widths[i] - std::min(widths[i], text.size()), ' ');
    if (page.columns[i].is_number) absl::StrAppend(&body, room);
    absl::StrAppend(&body, AsPiece(text));
    if (i + 1 == page.columns.size()) {
      body += '\n';
      return;
    }
    if (!page.columns[i].is_number) absl::StrAppend(&body, room);
    absl::StrAppend(&body, "  ");
  };
  for (std::size_t i = 0; i < page.columns.size(); ++i) append(i, page.columns[i].name);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) append(i, row[i]);
  }
  if (const std::string more = MoreLine(page); !more.empty()) {
    absl::StrAppend(&body, more, "\n");
  }
  return TextReply(std::move(body));
}

Response AsHtml(const TablePage& page) {
  std::string body = Concat(
      "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>", page.title,
      "</title>\n<style>td, th { padding: 0 1em 0 0; text-align: left } "
      ".n { text-align: right }</style>\n</head>\n<body>\n<h1>",
      page.title, "</h1>\n<p>", HtmlEscaped(page.introduction), "</p>\n<table>\n<thead><tr>");
  const auto cell = [&](std::string_view tag, std::size_t i, std::string_view text) {
    absl::StrAppend(&body, "<", AsPiece(tag), page.columns[i].is_number ? " class=\"n\">" : ">",
                    HtmlEscaped(text), "</", AsPiece(tag), ">");
  };
  for (std::size_t i = 0; i < page.columns.size(); ++i) cell("th", i, page.columns[i].name);
  absl::StrAppend(&body, "</tr></thead>\n");
  for (const auto& row : page.rows) {
    absl::StrAppend(&body, "<tr>");
    for (std::size_t i = 0; i < row.size(); ++i) cell("td", i, Text(row[i]));
    absl::StrAppend(&body, "</tr>\n");
  }
  absl::StrAppend(&body, "</table>\n<p>", HtmlEscaped(MoreLine(page)),
                  "</p>\n</body>\n</html>\n");
  return HtmlReply(std::move(body));
}

Response AsJson(const TablePage& page) {
  std::string body = Concat("{\"", page.rows_are, "_total\": ", page.rows_total, ", \"",
                            page.rows_are, "\": [");
  for (std::size_t r = 0; r < page.rows.size(); ++r) {
    absl::StrAppend(&body, r == 0 ? "\n" : ",\n", "{");
    for (std::size_t i = 0; i < page.rows[r].size(); ++i) {
      const Cell& value = page.rows[r][i];
      const bool is_number = std::holds_alternative<std::int64_t>(value);
      absl::StrAppend(&body, i == 0 ? "" : ", ", JsonQuoted(page.columns[i].name), ": ",
                      is_number ? Text(value) : JsonQuoted(Text(value)));
    }
    body += '}';
  }
  absl::StrAppend(&body, "\n]}\n");
  return JsonReply(std::move(body));
}

}  // namespace

bool AddRow(TablePage* page, std::vector<Cell> row) {
  std::size_t bytes = 0;
  for (const Cell& cell : row) {
    const auto* text = std::get_if<std::string>(&cell);
    bytes += text != nullptr ? text->size() : sizeof(std::int64_t);
  }
  page->is_full = page->is_full || page->row_bytes + bytes > kMostRowBytes;
  if (page->is_full) return false;
  page->row_bytes += bytes;
  page->rows.push_back(std::move(row));
  return true;
}

std::string Printable(std::string_view text) {
  std::string printable;
  printable.reserve(text.size());
  while (!text.empty()) {
    const std::string_view character = TakeUtf8Character(&text);
    const auto first = static_cast<unsigned char>(character[0]);
    // U+0080 to U+009F: a terminal takes U+009B for the begin of a command.
    const bool is_upper_control =
        first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
    const bool is_control = first < 0x20 || first == 0x7f || is_upper_control;
    printable += is_control ? "?" : character;
  }
  return printable;
}

std::string HtmlEscaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    const std::string_view character = TakeUtf8Character(&text);
    switch (character[0]) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&#34;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += character;
    }
  }
  return escaped;
}

Result<PageFormat> FormatFor(const Request& request, const Query& query) {
  const std::string_view format = query.Get("format");
  if (format == "html") return PageFormat::kHtml;
  if (format == "text") return PageFormat::kText;
  if (format == "json") return PageFormat::kJson;
  if (!format.empty()) {
    return Status(StatusCode::kInvalidArgument,
                  Concat("format is ", Quoted(format), "; accepted: html, text, json"));
  }
  const std::string* accept = FindHeader(request, "Accept");
  return accept != nullptr && accept->find("text/html") != std::string::npos
             ? PageFormat::kHtml
             : PageFormat::kText;
}

Result<std::size_t> LimitFor(const Query& query) {
  const std::string_view text = query.Get("limit");
  if (text.empty()) return kDefaultLimit;
  const auto limit = ParseInteger(text);
  if (!limit || *limit < 1 || *limit > kMostRows) {
    return Status(StatusCode::kInvalidArgument,
                  Concat("limit is ", Quoted(text), "; accepted: 1 to ", kMostRows));
  }
  return static_cast<std::size_t>(*limit);
}

Response Render(const TablePage& page, PageFormat format) {
  switch (format) {
    case PageFormat::kHtml:
      return AsHtml(page);
    case PageFormat::kText:
      return AsText(page);
    case PageFormat::kJson:
      break;
  }
  return AsJson(page);
}

}  // namespace heldby::http
