#include "exporters/http/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_replace.h"
#include "exporters/http/target.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

Status Invalid(std::string_view listen, std::string_view why) {
  return Status(StatusCode::kInvalidArgument,
                Concat("listen is \"", listen, "\": ", why,
                       "; accepted: \"127.0.0.1:6060\", \"[::1]:6060\", \"localhost:6060\" "
                       "(port 0 for any free one) or \"unix:/path/app.sock\""));
}

Result<ListenAddress> ParseUnix(std::string_view listen) {
  ListenAddress address;
  address.is_unix = true;
  address.path =
      absl::StrReplaceAll(std::string(listen.substr(5)), {{"%p", std::to_string(::getpid())}});
  if (!address.path.starts_with('/') || address.path.ends_with('/')) {
    return Invalid(listen, "a socket path must be absolute and name a file");
  }
  if (address.path.find('\0') != std::string::npos) {
    return Invalid(listen, "a socket path cannot contain a NUL byte");
  }
  constexpr std::size_t kMaxPathBytes = sizeof(sockaddr_un::sun_path) - 1;
  if (address.path.size() > kMaxPathBytes) {
    return Invalid(listen, Concat("a socket path has at most ", kMaxPathBytes, " bytes"));
  }
  return address;
}

}  // namespace

bool IsLoopbackAddress(const std::string& host) {
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool ListenAddress::IsLocal() const { return is_unix || IsLoopbackAddress(host); }

Result<ListenAddress> ParseListenAddress(std::string_view listen) {
  if (listen.starts_with("unix:")) return ParseUnix(listen);
  const auto colon = listen.rfind(':');
  if (colon == listen.npos) return Invalid(listen, "it has no port");
  ListenAddress address;
  address.host = listen.substr(0, colon);
  const bool bracketed = address.host.starts_with('[') && address.host.ends_with(']');
  if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty()) return Invalid(listen, "it has no host");
  if (address.host == "localhost" && !bracketed) address.host = "127.0.0.1";
  in6_addr scratch{};
  if (::inet_pton(bracketed ? AF_INET6 : AF_INET, address.host.c_str(), &scratch) != 1) {
    return Invalid(listen, "the host must be a numeric address or localhost");
  }
  const std::string_view digits = listen.substr(colon + 1);
  const auto port = ParseInteger(digits);
  if (!port || *port < 0 || *port > 65535 || digits.starts_with('+') ||
      digits.starts_with('-')) {
    return Invalid(listen, "the port must be a number from 0 to 65535");
  }
  address.port = static_cast<std::uint16_t>(*port);
  return address;
}

}  // namespace heldby::http
