// tests/unit/http/served.h - a server on a port of its own, for one test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "exporters/http/listen_address.h"
#include "exporters/http/server.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {

class Served : public testing::Test {
 protected:
  explicit Served(std::span<const ProfileEntry> profiles = SampleProfiles())
      : profiles_(profiles) {}

  void Start(const Limits& limits = {}, std::string token = {}) {
    auto listener = Listener::Open(*ParseListenAddress("127.0.0.1:0"));
    ASSERT_TRUE(listener) << listener.status().message();
    port_ = listener->port();
    auto server = Server::Start(*std::move(listener), AccessPolicy(std::move(token), ""),
                                Router(profiles_, SampleSymbolNames), limits);
    ASSERT_TRUE(server) << server.status().message();
    server_ = *std::move(server);
  }

  std::uint16_t port_ = 0;
  std::unique_ptr<Server> server_;

 private:
  std::span<const ProfileEntry> profiles_;
};

}  // namespace heldby::http
