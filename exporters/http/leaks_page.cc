#include "exporters/http/leaks_page.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "exporters/http/reply.h"
#include "exporters/http/table_page.h"
#include "exporters/trace/json_text.h"

namespace heldby::http {
namespace {

// Where the client found us, for commands that it can paste.
std::string HostOf(const Request& request) {
  const std::string* host = FindHeader(request, "Host");
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == ':' ||
           c == '-' || c == '[' || c == ']';
  };
  if (host == nullptr || host->empty() || !std::ranges::all_of(*host, is_plain)) {
    return "HOST:PORT";
  }
  return *host;
}

std::string CommandFor(const LeakVerdict& verdict, const std::string& host) {
  return absl::StrReplaceAll(verdict.command, {{"HOST:PORT", host}});
}

std::string Counted(std::size_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string Headline(const LeakReport& report) {
  std::size_t suspects = 0;
  std::size_t expected = 0;
  for (const LeakVerdict& verdict : report.verdicts) {
    if (!verdict.expected.empty()) {
      ++expected;
    } else if (verdict.leak_class == LeakClass::kSuspect) {
      ++suspects;
    }
  }
  const std::string watched =
      report.watched_s == 0
          ? std::string("nobody watches: growth is not judged")
          : absl::StrCat("watched for ", report.watched_s, " s, growth is judged over ",
                         report.window_s, " s and more");
  return absl::StrCat("heldby: ", Counted(report.leaks(), "leak"), ", ",
                      Counted(suspects, "suspect"), ", ", expected, " expected; ", watched);
}

std::string LeftOutText(const LeakReport& report) {
  return absl::StrCat(report.left_out, " more that weigh less are left out.");
}

std::string ClassText(const LeakVerdict& verdict) {
  return absl::AsciiStrToUpper(
      absl::StrReplaceAll(LeakClassName(verdict.leak_class), {{"_", " "}}));
}

// "+12.5MB/h +/- 1MB/h", of what is counted in bytes; else "+120/h".
std::string SlopeText(const LeakVerdict& verdict) {
  if (verdict.kind == LeakKind::kGrowingSite) {
    const double mb = 1024 * 1024;
    return absl::StrFormat("%+.3gMB an hour, +/- %.2gMB", verdict.slope_per_hour / mb,
                           verdict.slope_error / mb);
  }
  return absl::StrFormat("%+.3g an hour", verdict.slope_per_hour);
}

// Name and text of each line below the summary, in this order.
std::vector<std::pair<std::string, std::string>> Rows(const LeakVerdict& verdict,
                                                      const std::string& host) {
  std::vector<std::pair<std::string, std::string>> rows;
  if (!verdict.expected.empty()) rows.emplace_back("expected", verdict.expected);
  rows.emplace_back("evidence", verdict.evidence);
  if (verdict.slope_per_hour != 0) rows.emplace_back("slope", SlopeText(verdict));
  if (verdict.limit_in_s >= 0) {
    rows.emplace_back("limit", absl::StrCat("in ", verdict.limit_in_s, " s at this slope"));
  }
  for (const std::string& holder : verdict.holders) rows.emplace_back("held by", holder);
  for (const LeakStack& stack : verdict.stacks) {
    rows.emplace_back("stack", stack.role);
    for (const std::string& frame : stack.frames)
      rows.emplace_back("", absl::StrCat("  ", frame));
  }
  rows.emplace_back("see", CommandFor(verdict, host));
  rows.emplace_back("wrong if", verdict.doubt);
  return rows;
}

void AppendField(const char* name, const std::string& value, std::string* json) {
  absl::StrAppend(json, ", \"", name, "\": ", JsonQuoted(value));
}

// Of the field's own: JSON has no infinity.
void AppendNumber(const char* name, double value, std::string* json) {
  absl::StrAppend(json, ", \"", name,
                  "\": ", std::isfinite(value) ? absl::StrFormat("%.17g", value) : "0");
}

void AppendList(const char* name, const std::vector<std::string>& values, std::string* json) {
  absl::StrAppend(json, ", \"", name, "\": [");
  for (std::size_t i = 0; i < values.size(); ++i) {
    absl::StrAppend(json, i == 0 ? "" : ", ", JsonQuoted(values[i]));
  }
  absl::StrAppend(json, "]");
}

void AppendVerdict(const LeakVerdict& verdict, const std::string& host, std::string* json) {
  absl::StrAppend(json, "{\"kind\": ", JsonQuoted(LeakKindName(verdict.kind)));
  AppendField("class", LeakClassName(verdict.leak_class), json);
  AppendField("summary", verdict.summary, json);
  AppendField("evidence", verdict.evidence, json);
  AppendField("doubt", verdict.doubt, json);
  AppendField("expected", verdict.expected, json);
  AppendField("command", CommandFor(verdict, host), json);
  absl::StrAppend(json, ", \"count\": ", verdict.count, ", \"bytes\": ", verdict.bytes);
  AppendNumber("slope_per_hour", verdict.slope_per_hour, json);
  AppendNumber("slope_error", verdict.slope_error, json);
  absl::StrAppend(json, ", \"since_s\": ", verdict.since_s,
                  ", \"limit_in_s\": ", verdict.limit_in_s);
  AppendList("holders", verdict.holders, json);
  absl::StrAppend(json, ", \"stacks\": [");
  for (std::size_t i = 0; i < verdict.stacks.size(); ++i) {
    absl::StrAppend(json, i == 0 ? "{" : ", {",
                    "\"role\": ", JsonQuoted(verdict.stacks[i].role));
    AppendList("frames", verdict.stacks[i].frames, json);
    absl::StrAppend(json, "}");
  }
  absl::StrAppend(json, "]}");
}

}  // namespace

std::string LeaksText(const LeakReport& report, const std::string& host) {
  std::string text = absl::StrCat(Headline(report), "\n", report.process, "\n");
  std::size_t number = 0;
  for (const LeakVerdict& verdict : report.verdicts) {
    absl::StrAppend(&text, "\n", ++number, ". ", ClassText(verdict), ": ",
                    Printable(verdict.summary), "\n");
    for (const auto& [name, line] : Rows(verdict, host)) {
      absl::StrAppendFormat(&text, "   %-8s  %s\n", name, Printable(line));
    }
  }
  if (report.verdicts.empty()) absl::StrAppend(&text, "\nNothing stands out.\n");
  if (report.left_out > 0) absl::StrAppend(&text, "\n", LeftOutText(report), "\n");
  return text;
}

std::string LeaksJson(const LeakReport& report, const std::string& host) {
  std::string json =
      absl::StrCat("{\"schema\": \"heldby-leaks/1\", \"leaks\": ", report.leaks(),
                   ", \"watched_s\": ", report.watched_s, ", \"window_s\": ", report.window_s,
                   ", \"left_out\": ", report.left_out);
  AppendField("process", report.process, &json);
  absl::StrAppend(&json, ", \"verdicts\": [");
  for (std::size_t i = 0; i < report.verdicts.size(); ++i) {
    absl::StrAppend(&json, i == 0 ? "\n" : ",\n");
    AppendVerdict(report.verdicts[i], host, &json);
  }
  absl::StrAppend(&json, "]}\n");
  return json;
}

std::string LeaksHtml(const LeakReport& report, const std::string& host) {
  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>/debug/leaks</title>\n"
      "<style>td { padding: 0 1em 0 0; vertical-align: top } td:first-child { color: #666 }"
      "</style>\n</head>\n<body>\n<h1>/debug/leaks</h1>\n<p>",
      HtmlEscaped(Headline(report)), "</p>\n<p>", HtmlEscaped(report.process), "</p>\n");
  if (report.verdicts.empty()) absl::StrAppend(&html, "<p>Nothing stands out.</p>\n");
  for (const LeakVerdict& verdict : report.verdicts) {
    absl::StrAppend(&html, "<h2>", ClassText(verdict), ": ", HtmlEscaped(verdict.summary),
                    "</h2>\n<table>\n");
    for (const auto& [name, line] : Rows(verdict, host)) {
      absl::StrAppend(&html, "<tr><td>", HtmlEscaped(name), "</td><td>",
                      name == "see" ? "<code>" : "", HtmlEscaped(line),
                      name == "see" ? "</code>" : "", "</td></tr>\n");
    }
    absl::StrAppend(&html, "</table>\n");
  }
  if (report.left_out > 0) absl::StrAppend(&html, "<p>", LeftOutText(report), "</p>\n");
  absl::StrAppend(&html,
                  "<p><a href='connections'>connections</a>, <a href='tasks'>tasks</a>, "
                  "<a href='pprof/'>profiles</a></p>\n</body>\n</html>\n");
  return html;
}

Response LeaksPage(const Request& request, const Query& query) {
  const auto format = FormatFor(request, query);
  if (!format) return ErrorReply(400, format.status().message());
  const auto report = JudgeLeaks();
  if (!report) return ErrorReply(500, report.status().message());
  const std::string host = HostOf(request);
  switch (*format) {
    case PageFormat::kHtml:
      return HtmlReply(LeaksHtml(*report, host));
    case PageFormat::kText:
      return TextReply(LeaksText(*report, host));
    case PageFormat::kJson:
      break;
  }
  return JsonReply(LeaksJson(*report, host));
}

}  // namespace heldby::http
