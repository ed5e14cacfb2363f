#include "heldby/debug_server.h"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <utility>

#include "core/base/setting.h"
#include "exporters/http/access.h"
#include "exporters/http/leak_watch_options.h"
#include "exporters/http/listen_address.h"
#include "exporters/http/listener.h"
#include "exporters/http/server.h"
#include "heldby/self.h"
#include "profile/text.h"

namespace heldby {

class DebugServer::Impl {
 public:
  std::unique_ptr<http::Server> server;
  std::optional<LeakWatch> watch;
  std::uint16_t port = 0;
  std::string address;

  static Result<std::unique_ptr<Impl>> Start(const DebugServerOptions& options);
};

namespace {

Result<std::string> Token(const DebugServerOptions& options) {
  if (!options.token_file.empty()) return http::ReadTokenFile("token_file", options.token_file);
  const char* variable = core::Setting("HELDBY_TOKEN_FILE");
  if (variable == nullptr || *variable == '\0') return std::string();
  return http::ReadTokenFile("HELDBY_TOKEN_FILE", variable);
}

}  // namespace

Result<std::unique_ptr<DebugServer::Impl>> DebugServer::Impl::Start(
    const DebugServerOptions& options) {
  const auto address = http::ParseListenAddress(options.listen);
  if (!address) return address.status();
  auto token = Token(options);
  if (!token) return token.status();
  if (!address->IsLocal() && token->empty()) {
    return Status(StatusCode::kPermissionDenied,
                  Concat("listen is \"", options.listen,
                         "\", which other machines can reach: set token_file (or "
                         "HELDBY_TOKEN_FILE) to a file with a secret of at least 16 "
                         "characters, or listen on 127.0.0.1 or a unix socket"));
  }
  auto listener = http::Listener::Open(*address);
  if (!listener) return listener.status();
  auto impl = std::make_unique<Impl>();
  impl->port = listener->port();
  impl->address = listener->address();
  auto server = http::Server::Start(*std::move(listener),
                                    http::AccessPolicy(*std::move(token), options.extra_hosts),
                                    http::Router());
  if (!server) return server.status();
  impl->server = *std::move(server);
  auto watch = http::StartWatch(options.watch);
  if (!watch) return watch.status();
  impl->watch = *std::move(watch);
  return impl;
}

Result<DebugServer> DebugServer::Start(const DebugServerOptions& options) {
  const UnsampledScope unsampled;
  try {
    auto impl = Impl::Start(options);
    if (!impl) return impl.status();
    return DebugServer(*std::move(impl));
  } catch (const std::exception& error) {
    return Status(StatusCode::kInternal, Concat("cannot start the server: ", error.what()));
  }
}

DebugServer::DebugServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DebugServer::DebugServer(DebugServer&&) noexcept = default;
DebugServer& DebugServer::operator=(DebugServer&&) noexcept = default;
DebugServer::~DebugServer() { Stop(); }

void DebugServer::Stop() {
  if (!impl_) return;
  const UnsampledScope unsampled;
  impl_->server->Stop();
  impl_->watch.reset();
}

std::uint16_t DebugServer::port() const { return impl_ ? impl_->port : 0; }

const std::string& DebugServer::address() const {
  if (impl_ != nullptr) return impl_->address;
  // Never destroyed, so nothing is registered for exit in the host's name.
  UnsampledScope unsampled;
  static const auto* const none = new std::string();
  return *none;
}

}  // namespace heldby
