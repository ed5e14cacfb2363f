#include "exporters/http/access.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "exporters/http/listen_address.h"
#include "exporters/http/reply.h"
#include "exporters/http/target.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

constexpr std::size_t kMinTokenBytes = 16;
constexpr std::size_t kMaxTokenBytes = 4096;  // the whole header has 8 KiB

std::vector<const std::string*> AllHeaders(const Request& request, absl::string_view name) {
  std::vector<const std::string*> values;
  for (const auto& [key, value] : request.headers) {
    if (absl::EqualsIgnoreCase(key, name)) values.push_back(&value);
  }
  return values;
}

// "Name:80" -> "name", "[::1]:80" -> "::1". The port is not checked: tunnels such as
// `ssh -L` and `kubectl port-forward` change it, and a rebound name is wrong with any port.
// What follows a "]" or stands behind the last ":" must be a port, or none of it is a host.
std::string HostOf(std::string_view authority) {
  const bool bracketed = authority.starts_with('[');
  const auto end = bracketed ? authority.find(']') : authority.rfind(':');
  if (bracketed && end == authority.npos) return {};
  std::string_view port = authority.substr(std::min(end, authority.size()));
  if (bracketed) port.remove_prefix(1);
  const bool has_port = port.starts_with(':');
  if (!port.empty() && !has_port) return {};
  if (port.find_first_not_of("0123456789", has_port ? 1 : 0) != port.npos) return {};
  std::string host(authority.substr(bracketed ? 1 : 0, bracketed ? end - 1 : end));
  absl::AsciiStrToLower(&host);
  if (host.ends_with('.')) host.pop_back();
  return host;
}

bool HeaderIs(const Request& request, std::string_view name, std::string_view value) {
  const std::string* sent = FindHeader(request, name);
  return sent != nullptr && absl::EqualsIgnoreCase(*sent, AsPiece(value));
}

// Time depends on what the client sent, never on how much of it is right.
bool ConstantTimeEquals(std::string_view sent, std::string_view secret) {
  volatile unsigned difference = sent.size() == secret.size() ? 0 : 1;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    const auto a = static_cast<unsigned char>(sent[i]);
    const auto b = static_cast<unsigned char>(secret[i % secret.size()]);
    difference = difference | (a ^ b);
  }
  return difference == 0;
}

// Browsers tell of GETs, too, which have no Origin, where they come from. A click on a link is
// let through: the user sees what it opens, and the page that had the link does not.
bool IsForeignPage(const Request& request) {
  return IsFromAnotherSite(request) &&
         (request.method != "GET" || !HeaderIs(request, "Sec-Fetch-Mode", "navigate") ||
          !HeaderIs(request, "Sec-Fetch-Dest", "document"));
}

Status InvalidToken(std::string_view source, const std::string& path, std::string_view why) {
  return Status(StatusCode::kInvalidArgument,
                Concat(source, " is \"", path, "\": ", why,
                       "; accepted: a regular file of this user's or root's, not readable by "
                       "group or others (chmod 600), whose first line is a token of 16 to 4096 "
                       "visible characters"));
}

}  // namespace

bool IsFromAnotherSite(const Request& request) {
  return HeaderIs(request, "Sec-Fetch-Site", "cross-site") ||
         HeaderIs(request, "Sec-Fetch-Site", "same-site");
}

AccessPolicy::AccessPolicy(std::string token, std::string_view extra_hosts)
    : token_(std::move(token)) {
  for (absl::string_view host : absl::StrSplit(AsPiece(extra_hosts), ',')) {
    host = absl::StripAsciiWhitespace(host);
    if (!host.empty()) extra_hosts_.push_back(absl::AsciiStrToLower(host));
  }
}

bool AccessPolicy::IsKnownHost(std::string_view authority, const Channel& channel) const {
  const std::string host = HostOf(authority);
  return host == "localhost" || absl::EndsWith(host, ".localhost") || IsLoopbackAddress(host) ||
         (!host.empty() && host == channel.local_address) ||
         std::ranges::find(extra_hosts_, host) != extra_hosts_.end();
}

std::optional<Response> AccessPolicy::RefuseHost(const Request& request, bool is_http_1_0,
                                                 const Channel& channel) const {
  const auto hosts = AllHeaders(request, "Host");
  if (hosts.size() > 1) return ErrorReply(400, "more than one Host header");
  if (hosts.empty() && !is_http_1_0) return ErrorReply(400, "missing Host header");
  if (channel.is_unix) return std::nullopt;
  // The absolute form overrides the header, so both must be fine.
  const auto target = ParseTarget(request.target);
  std::vector<std::string> authorities;
  if (target && !target->authority.empty()) authorities.push_back(target->authority);
  if (!hosts.empty()) authorities.push_back(*hosts[0]);
  for (const std::string& authority : authorities) {
    if (IsKnownHost(authority, channel)) continue;
    return ErrorReply(403, Concat("host \"", absl::CHexEscape(authority.substr(0, 64)),
                                  "\" is not served here: use a loopback name or the "
                                  "bound address, or add the name to extra_hosts"));
  }
  return std::nullopt;
}

std::optional<Response> AccessPolicy::RefuseToken(const Request& request) const {
  if (token_.empty()) return std::nullopt;
  const auto values = AllHeaders(request, "Authorization");
  constexpr std::string_view kScheme = "Bearer ";
  if (values.size() == 1 && absl::StartsWithIgnoreCase(*values[0], "Bearer ")) {
    const auto sent =
        absl::StripAsciiWhitespace(absl::string_view(*values[0]).substr(kScheme.size()));
    if (ConstantTimeEquals({sent.data(), sent.size()}, token_)) return std::nullopt;
  }
  Response response = ErrorReply(401, "send the token as \"Authorization: Bearer TOKEN\"");
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"heldby\"");
  return response;
}

std::optional<Response> AccessPolicy::Refuse(const Request& request, bool is_http_1_0,
                                             const Channel& channel) const {
  if (auto refusal = RefuseHost(request, is_http_1_0, channel)) return refusal;
  if (const std::string* origin = FindHeader(request, "Origin")) {
    const std::string* host = FindHeader(request, "Host");
    if (channel.is_unix || !host || host->empty() ||
        !absl::EqualsIgnoreCase(*origin, Concat("http://", *host))) {
      return ErrorReply(403, "requests from another origin are refused");
    }
  }
  if (IsForeignPage(request)) return ErrorReply(403, "requests from another site are refused");
  // A liveness probe has no secret to offer and learns none.
  const auto target = ParseTarget(request.target);
  if (target && target->path == "/healthz") return std::nullopt;
  return RefuseToken(request);
}

Result<std::string> ReadTokenFile(std::string_view source, const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer. Links are followed: mounted
  // secrets are links. Where a link leads to another user's file, that user knows the token.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return InvalidToken(source, path, Concat("open: ", ::strerrordesc_np(errno)));
  struct stat info {};
  std::string why;
  std::string line(kMaxTokenBytes + 1, '\0');
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    why = "it is not a regular file";
  } else if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    why = "it belongs to another user";
  } else if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    why = "group or others have rights on it";
  } else {
    const ssize_t got = ::read(fd, line.data(), line.size());
    line.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  ::close(fd);
  if (!why.empty()) return InvalidToken(source, path, why);
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.size() > kMaxTokenBytes) {
    return InvalidToken(source, path, "its first line is too long");
  }
  const std::string token(absl::StripAsciiWhitespace(line));
  if (token.size() < kMinTokenBytes)
    return InvalidToken(source, path, "its first line is too short");
  if (!std::ranges::all_of(token, [](unsigned char c) { return absl::ascii_isgraph(c); })) {
    return InvalidToken(source, path, "its first line has characters that no header can carry");
  }
  return token;
}

}  // namespace heldby::http
