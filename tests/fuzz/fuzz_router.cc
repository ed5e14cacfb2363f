// Router::Route() and AccessPolicy: whatever the target, body and headers, one answer that a
// client can read and a terminal can show.
//
// Input: a byte of choices (method, Accept), the target, a line of the Host, one of the Origin,
// then the body. A timed page finds that its client has left.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "exporters/http/access.h"
#include "exporters/http/reply.h"
#include "exporters/http/router.h"
#include "tests/unit/http/sample_profiles.h"

namespace {

using namespace heldby::http;  // NOLINT: a fuzz target is one function

std::string_view TakeLine(std::string_view* text) {
  const auto end = std::min(text->find('\n'), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

// Of an answer that quotes what was sent, and of every header.
bool IsPlain(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return false;
  }
  return true;
}

void Check(const heldby::Request& request, const heldby::Response& response) {
  if (response.status < 200 || response.status > 599) std::abort();
  for (const auto& [name, value] : response.headers) {
    if (name.empty() || !IsPlain(name) || !IsPlain(value)) std::abort();
  }
  if (request.method == "HEAD" && !response.body.empty()) std::abort();
  if (response.status < 400 || request.method == "HEAD") return;
  if (FindHeader(response, "X-Go-Pprof") == nullptr) std::abort();
  std::string_view line = response.body;
  if (!line.ends_with('\n')) std::abort();
  line.remove_suffix(1);
  if (!IsPlain(line) || line.size() > 1024) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const Router router(SampleProfiles(), SampleSymbolNames);
  static const AccessPolicy access("correct-horse-battery", "extra.example");
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr const char* kMethods[] = {"GET", "HEAD", "POST", "PUT"};
  heldby::Request request;
  request.method = kMethods[data[0] % 4];
  request.target = TakeLine(&text);
  request.headers.emplace_back("Host", TakeLine(&text));
  request.headers.emplace_back("Origin", TakeLine(&text));
  if ((data[0] & 4) != 0) request.headers.emplace_back("Accept", "text/html");
  request.body = text;
  request.cancelled = [] { return true; };
  const auto refusal = access.Refuse(request, (data[0] & 8) != 0, {.local_address = "::1"});
  const auto path = ParseTarget(request.target);
  if (!refusal && !(path && path->path == "/healthz")) std::abort();  // there is no token
  if (refusal && request.method != "HEAD") Check(request, *refusal);
  Check(request, router.Route(request));
  return 0;
}
