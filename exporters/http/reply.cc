#include "exporters/http/reply.h"

#include <utility>

#include "absl/strings/match.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

Response Reply(int status, std::string_view content_type, std::string body) {
  Response response;
  response.status = status;
  response.headers = {{"Content-Type", std::string(content_type)},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Cache-Control", "no-store"}};
  response.body = std::move(body);
  return response;
}

template <typename Message>
const std::string* Find(const Message& message, std::string_view name) {
  for (const auto& [key, value] : message.headers) {
    if (absl::EqualsIgnoreCase(key, AsPiece(name))) return &value;
  }
  return nullptr;
}

}  // namespace

Response TextReply(std::string body) {
  return Reply(200, "text/plain; charset=utf-8", std::move(body));
}

Response HtmlReply(std::string body) {
  return Reply(200, "text/html; charset=utf-8", std::move(body));
}

Response JsonReply(std::string body) { return Reply(200, "application/json", std::move(body)); }

Response DownloadReply(std::string_view filename, std::string body) {
  Response response = Reply(200, "application/octet-stream", std::move(body));
  response.headers.emplace_back("Content-Disposition",
                                Concat("attachment; filename=\"", filename, "\""));
  return response;
}

Response ErrorReply(int status, std::string_view line) {
  Response response = Reply(status, "text/plain; charset=utf-8", std::string(line) + "\n");
  response.headers.emplace_back("X-Go-Pprof", "1");
  return response;
}

const std::string* FindHeader(const Request& request, std::string_view name) {
  return Find(request, name);
}

const std::string* FindHeader(const Response& response, std::string_view name) {
  return Find(response, name);
}

}  // namespace heldby::http
