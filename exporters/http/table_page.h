// exporters/http/table_page.h - a table as HTML, as aligned text, or as JSON.
//
// Threads  values and pure functions: any.   Signals  unsafe: allocates.
// Bounds   kMostRowBytes of rows; AddRow() leaves out what is beyond, and the page counts it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "exporters/http/target.h"
#include "heldby/http.h"

namespace heldby::http {

struct Column {
  std::string_view name;  // lower case with underscores: the key in JSON, the head of the text
  bool is_number = false;
};

/// Of all rows of a page. A client asks for up to 100,000, and one label that the program took
/// from a request of its own may be in every one of them.
inline constexpr std::size_t kMostRowBytes = 64 << 20;

/// Numbers are shown as they are: units are in the column's name.
using Cell = std::variant<std::int64_t, std::string>;

struct TablePage {
  std::string_view title;     // the path
  std::string_view rows_are;  // "connections": the key of the list in JSON
  std::string introduction;   // one or two sentences, above the table
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::size_t rows_total = 0;  // with those beyond the limit
  std::size_t row_bytes = 0;   // AddRow() counts them
  bool is_full = false;
};

/// False: the page is full, and stays as it is.
bool AddRow(TablePage* page, std::vector<Cell> row);

enum class PageFormat { kHtml, kText, kJson };

/// `format` of the query, or else what the client accepts: a browser says text/html.
/// kInvalidArgument  another format; the message names what is accepted.
[[nodiscard]] Result<PageFormat> FormatFor(const Request& request, const Query& query);

/// `limit` of the query: 200 unless given. kInvalidArgument: not 1 to 100,000.
[[nodiscard]] Result<std::size_t> LimitFor(const Query& query);

[[nodiscard]] Response Render(const TablePage& page, PageFormat format);

/// A text of the program's own must not end a line of ours, nor move the cursor: a ? for each
/// control character. Bytes that are no text are replaced here, too.
[[nodiscard]] std::string Printable(std::string_view text);
[[nodiscard]] std::string HtmlEscaped(std::string_view text);

}  // namespace heldby::http
