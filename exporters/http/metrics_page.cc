#include "exporters/http/metrics_page.h"

#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "exporters/http/reply.h"
#include "exporters/http/request_counts.h"
#include "exporters/pprof/gzip.h"
#include "exporters/prometheus/attached.h"
#include "exporters/prometheus/text.h"
#include "heldby/metrics.h"

namespace heldby::http {
namespace {

// "gzip;q=1.0, *;q=0.5": RFC 9110, 12.5.3. A q of 0 means: not this one.
bool TakesGzip(const Request& request) {
  const std::string* accepted = FindHeader(request, "Accept-Encoding");
  if (accepted == nullptr) return false;
  for (const absl::string_view part : absl::StrSplit(*accepted, ',')) {
    const std::vector<absl::string_view> words = absl::StrSplit(part, ';');
    if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(words[0]), "gzip")) continue;
    for (std::size_t i = 1; i < words.size(); ++i) {
      absl::string_view weight = absl::StripAsciiWhitespace(words[i]);
      double q = 1;
      if (!absl::StartsWithIgnoreCase(weight, "q=")) continue;
      weight.remove_prefix(2);
      if (absl::SimpleAtod(weight, &q) && q <= 0) {
        return false;
      }
    }
    return true;
  }
  return false;
}

}  // namespace

Response MetricsPage(const Request& request) {
  const auto families = CollectMetrics();
  if (!families) {
    return ErrorReply(500, "cannot collect the metrics: " + families.status().message());
  }
  std::string text;
  prometheus_text::FamilyNames written;
  prometheus_text::AppendFamilies(*families, &written, &text);
  const MetricFamily own[] = {
      ProcessRequestCounts().Family(),
      ProcessRequestCounts().DroppedConnections(),
      {"heldby_attached_dropped_total",
       "Families of attached metrics that were left out: of a name that "
       "is on the page already, malformed, or not told in time.",
       MetricType::kCounter,
       {{{}, static_cast<double>(prometheus_text::AttachedDroppedTotal())}}}};
  prometheus_text::AppendFamilies({std::begin(own), std::end(own)}, &written, &text);
  prometheus_text::AppendAttached(&written, &text);
  Response response = TextReply({});
  response.headers[0].second = "text/plain; version=0.0.4; charset=utf-8";
  response.headers.emplace_back("Vary", "Accept-Encoding");
  if (TakesGzip(request)) {
    if (auto packed = Gzip(text)) {
      response.headers.emplace_back("Content-Encoding", "gzip");
      text = *std::move(packed);
    }
  }
  response.body = std::move(text);
  return response;
}

}  // namespace heldby::http
