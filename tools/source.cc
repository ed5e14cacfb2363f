#include "tools/source.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "profile/text.h"
#include "tools/processes.h"

namespace heldby::tools {
namespace {

constexpr std::string_view kRoot = "/debug/pprof/";

Status Invalid(std::string_view target, std::string_view why) {
  return Status(
      StatusCode::kInvalidArgument,
      Concat("target is \"", target, "\": ", why,
             "; accepted: host:port, http://host:port/debug/pprof/heap, a process id, "
             "unix:/path/of.sock"));
}

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return absl::ascii_isdigit(c); });
}

// "[::1]:80", "host:80", "host".
Status ParseAuthority(std::string_view target, std::string_view authority, Source* source) {
  if (authority.find('@') != authority.npos) {
    return Invalid(target, "a user name in it is not supported (-token-file FILE is)");
  }
  std::string_view rest;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == authority.npos) return Invalid(target, "a bracket is not closed");
    source->host = authority.substr(1, close - 1);
    rest = authority.substr(close + 1);
  } else {
    const auto colon = authority.find(':');
    source->host = authority.substr(0, colon);
    rest = colon == authority.npos ? std::string_view() : authority.substr(colon);
  }
  source->port = rest.empty() ? "80" : std::string(rest.substr(1));
  int port = 0;
  const bool is_port = IsDigits(source->port) && absl::SimpleAtoi(source->port, &port);
  if (source->host.empty()) return Invalid(target, "it has no host");
  if (!is_port || port < 1 || port > 65535) return Invalid(target, "its port is none");
  return Status();
}

// The path a request gets; `base` is what the target itself says.
Result<std::string> PathOf(std::string_view target, std::string_view base,
                           std::string_view profile) {
  // What stands on a request line: a blank or a line end would begin another word, or header.
  for (std::string_view part : {base, profile}) {
    if (!std::ranges::all_of(part, [](unsigned char c) { return absl::ascii_isgraph(c); })) {
      return Invalid(target, "a path has characters that must be escaped as %XX");
    }
  }
  const auto query = std::min(base.find('?'), base.size());
  std::string path(base.substr(0, query));
  if (absl::EndsWith(path, "/debug/pprof")) path += '/';
  if (!path.empty() && path.back() != '/') {
    if (profile.empty()) return std::string(base);
    return Invalid(target,
                   Concat("it names a profile already, and \"", profile, "\" is another"));
  }
  if (query != base.size()) return Invalid(target, "a query needs a profile before it");
  if (profile.empty()) profile = "heap";
  const bool is_root = absl::EndsWith(path, AsPiece(kRoot));
  if (path.empty()) path = "/";
  // fgprof stands beside Go's own profiles, not among them.
  const bool is_fgprof = profile.substr(0, profile.find('?')) == "fgprof";
  if (is_root && is_fgprof) path.resize(path.size() - std::string_view("pprof/").size());
  if (!is_root) path += is_fgprof ? "debug/" : kRoot.substr(1);
  return Concat(path, profile);
}

Result<Source> ParseAddress(std::string_view target, std::string_view address,
                            std::string_view profile) {
  Source source;
  std::string_view base;
  if (address.starts_with("unix:")) {
    source.socket = address.substr(5);
    if (!source.socket.starts_with('/')) return Invalid(target, "a socket needs a whole path");
  } else {
    if (address.starts_with("https:")) {
      return Invalid(target, "TLS is not spoken here (a tunnel is one way: ssh -L)");
    }
    if (address.starts_with("http://")) address.remove_prefix(7);
    if (address.find("://") != address.npos) return Invalid(target, "it is no http address");
    address = address.substr(0, address.find('#'));
    const auto end = std::min(address.find_first_of("/?"), address.size());
    if (Status status = ParseAuthority(target, address.substr(0, end), &source); !status.ok()) {
      return status;
    }
    base = address.substr(end);
  }
  auto path = PathOf(target, base, profile);
  if (!path) return path.status();
  source.target = *std::move(path);
  return source;
}

std::vector<std::string> ParametersOf(const Source& source) {
  const auto query = source.target.find('?');
  if (query == source.target.npos) return {};
  return absl::StrSplit(source.target.substr(query + 1), '&');
}

}  // namespace

std::string Authority(const Source& source) {
  if (!source.socket.empty()) return "localhost";
  const bool is_v6 = absl::StrContains(source.host, ':');
  return absl::StrCat(is_v6 ? "[" : "", source.host, is_v6 ? "]" : "", ":", source.port);
}

std::string UrlOf(const Source& source) {
  if (!source.socket.empty()) return absl::StrCat("unix:", source.socket, source.target);
  return absl::StrCat("http://", Authority(source), source.target);
}

Result<Source> ParseSource(std::string_view target, std::string_view profile) {
  if (!IsDigits(target)) {
    if (!target.starts_with("unix:") && target.find(':') == target.npos) {
      return Invalid(target, "neither a file nor an address");
    }
    return ParseAddress(target, target, profile);
  }
  const std::string address = AddressOf(std::string(target));
  if (address.empty()) {
    return Status(StatusCode::kNotFound, Concat("process ", target,
                                                " serves no endpoint, or is another user's; "
                                                "`heldby ls` lists those that do"));
  }
  return ParseAddress(target, address, profile);
}

Result<Source> Follow(const Source& from, std::string_view location) {
  Source to = from;
  location = location.substr(0, location.find('#'));
  if (location.starts_with("http://") || location.starts_with("https://") ||
      location.starts_with("//")) {
    const std::string same = absl::StrCat("http://", Authority(from));
    if (!location.starts_with(same) || !location.substr(same.size()).starts_with('/')) {
      return Status(StatusCode::kUnavailable,
                    Concat("redirected to ", location, ", which is another server"));
    }
    to.target = location.substr(same.size());
  } else if (location.starts_with('/')) {
    to.target = location;
  } else {
    const std::string path = from.target.substr(0, from.target.find('?'));
    to.target = Concat(path.substr(0, path.rfind('/') + 1), location);
  }
  if (location.empty() ||
      !std::ranges::all_of(to.target, [](unsigned char c) { return absl::ascii_isgraph(c); })) {
    return Status(StatusCode::kUnavailable, "redirected to no place");
  }
  return to;
}

std::int64_t SecondsIn(const Source& source) {
  for (const std::string& parameter : ParametersOf(source)) {
    std::int64_t seconds = 0;
    if (absl::StartsWith(parameter, "seconds=")) {
      return absl::SimpleAtoi(parameter.substr(8), &seconds) && seconds > 0 ? seconds : 0;
    }
  }
  return 0;
}

void SetSeconds(std::int64_t seconds, Source* source) {
  std::vector<std::string> parameters = ParametersOf(*source);
  std::erase_if(parameters, [](const std::string& parameter) {
    return parameter.empty() || absl::StartsWith(parameter, "seconds=");
  });
  parameters.push_back(absl::StrCat("seconds=", seconds));
  source->target = absl::StrCat(source->target.substr(0, source->target.find('?')), "?",
                                absl::StrJoin(parameters, "&"));
}

std::string ProfileNameOf(const Source& source) {
  const std::string path = source.target.substr(0, source.target.find('?'));
  std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() ? "profile" : name;
}

}  // namespace heldby::tools
