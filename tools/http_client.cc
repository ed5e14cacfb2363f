#include "tools/http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/version.hpp>
#include <optional>
#include <utility>

#include "profile/text.h"

namespace heldby::tools {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::uint64_t kMaxBodyBytes = std::uint64_t{1} << 30;
constexpr std::uint32_t kMaxHeaderBytes = 64 * 1024;
constexpr std::chrono::seconds kConnectTimeout(10);
constexpr std::chrono::seconds kIdleTimeout(60);

template <typename Protocol>
class Exchange {
 public:
  Exchange(const Source& source, const GetOptions& options)
      : source_(source), options_(options), stream_(context_) {
    parser_.body_limit(kMaxBodyBytes);
    parser_.header_limit(kMaxHeaderBytes);
  }

  Result<Reply> Run() {
    if (Status status = Connect(); !status.ok()) return status;
    if (Status status = Send(); !status.ok()) return status;
    if (Status status = Receive(); !status.ok()) return status;
    auto& message = parser_.get();
    Reply reply;
    reply.status = message.result_int();
    reply.reason = std::string(message.reason());
    reply.content_type = std::string(message[http::field::content_type]);
    reply.content_encoding = std::string(message[http::field::content_encoding]);
    reply.location = std::string(message[http::field::location]);
    reply.is_from_pprof = message.find("X-Go-Pprof") != message.end();
    reply.body = std::move(message.body());
    return reply;
  }

 private:
  Status Connect();

  Status Send() {
    http::request<http::empty_body> request(http::verb::get, source_.target, 11);
    request.set(http::field::host, Authority(source_));
    request.set(http::field::user_agent, "heldby/" HELDBY_VERSION);
    request.set(http::field::accept_encoding, "gzip");
    request.set(http::field::connection, "close");
    if (!options_.token.empty()) {
      request.set(http::field::authorization, "Bearer " + options_.token);
    }
    stream_.expires_after(kConnectTimeout);
    return Await("send to", [&](auto handler) {
      http::async_write(stream_, request, std::move(handler));
    });
  }

  Status Receive() {
    stream_.expires_after(options_.header_timeout);
    Status status = Await("read from", [&](auto handler) {
      http::async_read_header(stream_, buffer_, parser_, std::move(handler));
    });
    while (status.ok() && !parser_.is_done()) {
      stream_.expires_after(kIdleTimeout);
      status = Await("read from", [&](auto handler) {
        http::async_read_some(stream_, buffer_, parser_, std::move(handler));
      });
    }
    return status;
  }

  // Runs one operation to its end. The stream's own clock ends it if need be.
  template <typename Start>
  Status Await(const char* doing, Start start) {
    std::optional<beast::error_code> outcome;
    start([&outcome](beast::error_code error, auto&&...) { outcome = error; });
    context_.restart();
    while (!outcome) {
      context_.run_for(std::chrono::seconds(1));
      if (outcome) break;
      ++waited_s_;
      if (options_.on_wait) options_.on_wait(waited_s_);
    }
    return *outcome ? Failure(doing, *outcome) : Status();
  }

  Status Failure(const char* doing, beast::error_code error) const {
    const std::string url = UrlOf(source_);
    if (error == http::error::body_limit) {
      return Status(StatusCode::kResourceExhausted, url + ": more than 1 GiB");
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return Status(StatusCode::kResourceExhausted, url + ": more than 64 KiB of header");
    }
    if (error == http::error::partial_message) {
      return Status(StatusCode::kDataLoss,
                    url + ": the connection was lost in the middle of the answer");
    }
    if (error == http::error::end_of_stream) {
      return Status(StatusCode::kUnavailable,
                    url + ": closed the connection without an answer");
    }
    if (error == beast::error::timeout) {
      return Status(StatusCode::kUnavailable, url + ": no answer in time");
    }
    return Status(StatusCode::kUnavailable,
                  Concat("cannot ", doing, " ", url, ": ", error.message()));
  }

  const Source& source_;
  const GetOptions& options_;
  asio::io_context context_;
  beast::basic_stream<Protocol> stream_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  std::int64_t waited_s_ = 0;
};

template <>
Status Exchange<asio::ip::tcp>::Connect() {
  asio::ip::tcp::resolver resolver(context_);
  beast::error_code error;
  const auto addresses = resolver.resolve(source_.host, source_.port, error);
  if (error) return Failure("find", error);
  stream_.expires_after(kConnectTimeout);
  return Await("connect to",
               [&](auto handler) { stream_.async_connect(addresses, std::move(handler)); });
}

template <>
Status Exchange<asio::local::stream_protocol>::Connect() {
  // A longer path makes Asio throw.
  if (source_.socket.size() >= sizeof(sockaddr_un::sun_path)) {
    return Status(StatusCode::kInvalidArgument,
                  Concat("unix:", source_.socket, ": a path of at most 107 characters"));
  }
  stream_.expires_after(kConnectTimeout);
  return Await("connect to", [&](auto handler) {
    stream_.async_connect(asio::local::stream_protocol::endpoint(source_.socket),
                          std::move(handler));
  });
}

}  // namespace

Result<Reply> Get(const Source& source, const GetOptions& options) {
  if (source.socket.empty()) return Exchange<asio::ip::tcp>(source, options).Run();
  return Exchange<asio::local::stream_protocol>(source, options).Run();
}

}  // namespace heldby::tools
