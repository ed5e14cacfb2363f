#include "exporters/http/router.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "exporters/http/holder_pages.h"
#include "exporters/http/leaks_page.h"
#include "exporters/http/metrics_page.h"
#include "exporters/http/reply.h"
#include "exporters/http/request_counts.h"
#include "heldby/symbolize.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

constexpr std::string_view kRoot = "/debug/pprof/";

// Relative, so that it stays right below whatever prefix the endpoint is mounted at.
Response RedirectToRoot(const Target& target) {
  Response response = TextReply("moved to pprof/\n");
  response.status = 301;
  response.headers.emplace_back(
      "Location", target.raw_query.empty() ? "pprof/" : Concat("pprof/?", target.raw_query));
  return response;
}

Response MethodNotAllowed(std::string_view allowed) {
  Response response = ErrorReply(405, "Method Not Allowed");
  response.headers.emplace_back("Allow", std::string(allowed));
  return response;
}

}  // namespace

Router::Router() : Router(BuiltinProfiles(), &SymbolNames) { deltas_ = ProcessDeltaSeries(); }

Router::Router(std::span<const ProfileEntry> profiles, SymbolNamesFunction symbol_names)
    : profiles_(profiles),
      symbol_names_(symbol_names),
      deltas_(std::make_shared<DeltaSeriesSet>()) {}

std::size_t Router::MaxBodyBytes(const Request& request) {
  if (request.method != "POST") return 0;
  const auto target = ParseTarget(request.target);
  return target && target->path == "/debug/pprof/symbol" ? kMaxSymbolBodyBytes : 0;
}

bool Router::Waits(const Request& request) {
  const auto target = ParseTarget(request.target);
  if (!target) return false;
  if (std::ranges::find(TimedPages(), target->path, &TimedPage::path) != TimedPages().end()) {
    return true;
  }
  const auto query = Query::Parse(target->raw_query);
  return query && !query->Get("seconds").empty();
}

bool Router::HasEffect(const Request& request) {
  const auto target = ParseTarget(request.target);
  return Waits(request) || (target && target->path.starts_with(Concat(kRoot, kDeltaPrefix)));
}

bool Router::IsImmediate(const Request& request) {
  const auto target = ParseTarget(request.target);
  return target && target->path == "/healthz";
}

Response Router::Route(const Request& request) const {
  Response response = Dispatch(request);
  const auto target = ParseTarget(request.target);
  // 405 is also what another method than GET is told of a path that is none.
  const bool exists = target && response.status != 404 && response.status != 405;
  ProcessRequestCounts().Add(exists ? std::string_view(target->path) : "other",
                             response.status);
  if (request.method == "HEAD") {
    response.headers.emplace_back("Content-Length", std::to_string(response.body.size()));
    response.body.clear();
  }
  return response;
}

Response Router::Dispatch(const Request& request) const {
  const auto target = ParseTarget(request.target);
  if (!target) return ErrorReply(400, target.status().message());
  const std::string_view path = target->path;
  const bool is_root = path == kRoot.substr(0, kRoot.size() - 1);
  const bool is_health = path == "/healthz";
  const bool is_connections = path == "/debug/connections";
  const bool is_tasks = path == "/debug/tasks";
  const bool is_leaks = path == "/debug/leaks";
  const auto timed = std::ranges::find(TimedPages(), path, &TimedPage::path);
  const bool is_timed = timed != TimedPages().end();
  const bool is_metrics = path == "/metrics";
  const bool is_page = is_connections || is_tasks || is_leaks || is_timed || is_metrics;
  if (!is_root && !is_health && !is_page && !path.starts_with(kRoot)) {
    return ErrorReply(404, "404 page not found");
  }
  const bool is_read = request.method == "GET" || request.method == "HEAD";
  if (path == "/debug/pprof/symbol") {
    if (!is_read && request.method != "POST") return MethodNotAllowed("GET, HEAD, POST");
    if (request.body.size() > kMaxSymbolBodyBytes) {
      return ErrorReply(413, "request body too large: at most 1048576 bytes of addresses");
    }
    return Symbols(is_read ? target->raw_query : request.body, symbol_names_);
  }
  if (!is_read && path.starts_with(kRoot)) {
    if (const auto entry = Find(path.substr(kRoot.size())); entry && entry->rate) {
      if (request.method != "POST") return MethodNotAllowed("GET, HEAD, POST");
      const auto query = Query::Parse(target->raw_query);
      if (!query) return ErrorReply(400, query.status().message());
      return SetRate(*entry, *query);
    }
  }
  if (!is_read) return MethodNotAllowed("GET, HEAD");
  if (is_health) return TextReply("ok\n");
  if (is_metrics) return MetricsPage(request);
  if (is_root) return RedirectToRoot(*target);
  if (is_page) {
    const auto query = Query::Parse(target->raw_query);
    if (!query) return ErrorReply(400, query.status().message());
    if (is_timed) return timed->answer(*query, request.cancelled);
    if (is_leaks) return LeaksPage(request, *query);
    return is_connections ? ConnectionsPage(request, *query) : TasksPage(request, *query);
  }
  return Named(request, path.substr(kRoot.size()), *target);
}

Response Router::Named(const Request& request, std::string_view name,
                       const Target& target) const {
  if (name.empty()) return IndexPage(profiles_);
  if (name == "cmdline") return CommandLine();
  DeltaSeries* series = nullptr;
  if (name.starts_with(kDeltaPrefix)) series = deltas_->Find(name.substr(kDeltaPrefix.size()));
  if (series != nullptr) name.remove_prefix(kDeltaPrefix.size());
  const std::optional<ProfileEntry> entry = Find(name);
  if (!entry) return ErrorReply(404, "Unknown profile");
  const auto query = Query::Parse(target.raw_query);
  if (!query) return ErrorReply(400, query.status().message());
  if (series != nullptr) return DeltaProfile(*entry, series, request, *query);
  return NamedProfile(*entry, *query, request.cancelled);
}

std::optional<ProfileEntry> Router::Find(std::string_view name) const {
  const auto built_in = std::ranges::find(profiles_, name, &ProfileEntry::name);
  if (built_in != profiles_.end()) return *built_in;
  const std::vector<ProfileEntry> customs = CustomProfiles();
  const auto custom = std::ranges::find(customs, name, &ProfileEntry::name);
  if (custom != customs.end()) return *custom;
  return std::nullopt;
}

}  // namespace heldby::http
