// Requests to a router over sample profiles.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "exporters/http/reply.h"
#include "exporters/http/router.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {

inline Response Ask(std::string method, std::string target, std::string body = {}) {
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  return Router(SampleProfiles(), SampleSymbolNames).Route(request);
}

inline Response Get(std::string target) { return Ask("GET", std::move(target)); }

inline std::string Header(const Response& response, std::string_view name) {
  const std::string* value = FindHeader(response, name);
  return value == nullptr ? "(none)" : *value;
}

}  // namespace heldby::http
