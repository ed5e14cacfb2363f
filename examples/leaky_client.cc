// An HTTP client with a connection pool, and a caller that forgets to close what it was given.
//
//   leaky_client [--calls=200] [--mode=leak|fixed] [--listen=127.0.0.1:6060] [--seconds=600]
//                [--pause-ms=0]
//
// The client works as Go's http.Transport: a connection has a coroutine that reads and one that
// writes, RoundTrip() hands out a response as soon as its header is there, and the connection
// is free for the next call when the response's body has been closed. CheckHealth() looks at
// the status and forgets the body: each call leaves a connection, two coroutines and their
// buffers.
//
// It calls a small server of its own, makes its calls, and then sits still until its standard
// input is closed or the time is up. All it takes to see what is left, and who left it, is
// heldby/asio.h, whose co_spawn, tcp_socket and concurrent_channel stand where Asio's would.
#include <heldby/asio.h>
#include <heldby/heldby.h>
#include <poll.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using net::awaitable;
using net::use_awaitable;
using net::ip::tcp;

[[noreturn]] void Fail(const std::string& message) {
  std::fprintf(stderr, "leaky_client: %s\n", message.c_str());
  std::exit(2);
}

// The other service, which knows nothing of heldby.
class HealthServer {
 public:
  HealthServer() {
    net::co_spawn(io_, Accept(), net::detached);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~HealthServer() {
    io_.stop();
    thread_.join();
  }
  tcp::endpoint endpoint() const { return endpoint_; }

 private:
  awaitable<void> Accept() {
    while (true) {
      net::co_spawn(io_, Serve(co_await acceptor_.async_accept(use_awaitable)), net::detached);
    }
  }

  static awaitable<void> Serve(tcp::socket socket) {
    boost::beast::flat_buffer buffer;
    while (true) {
      http::request<http::empty_body> request;
      co_await http::async_read(socket, buffer, request, use_awaitable);
      http::response<http::string_body> response(http::status::ok, 11);
      response.body() = "{\"status\": \"ok\"}\n";
      response.prepare_payload();
      co_await http::async_write(socket, response, use_awaitable);
    }
  }

  net::io_context io_;
  tcp::acceptor acceptor_{io_, {net::ip::address_v4::loopback(), 0}};
  const tcp::endpoint endpoint_ = acceptor_.local_endpoint();
  std::thread thread_;
};

using Request = http::request<http::empty_body>;
class PersistentConnection;

// The header of an answer, and the right to its body. REQUIRES: Close() when done with it.
class Response {
 public:
  Response(int status, std::shared_ptr<PersistentConnection> connection)
      : status_(status), connection_(std::move(connection)) {}

  int status() const { return status_; }
  void Close();

 private:
  int status_;
  std::shared_ptr<PersistentConnection> connection_;
};

class Transport {
 public:
  explicit Transport(tcp::endpoint server) : server_(std::move(server)) {
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Transport() {
    io_.stop();
    thread_.join();
  }

  Response RoundTrip(Request request);
  void CloseIdleConnections();

  void PutIdle(std::shared_ptr<PersistentConnection> connection) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(connection));
  }

 private:
  std::shared_ptr<PersistentConnection> TakeIdle() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

  const tcp::endpoint server_;
  net::io_context io_;
  net::executor_work_guard<net::io_context::executor_type> work_ = net::make_work_guard(io_);
  std::mutex mutex_;
  std::vector<std::shared_ptr<PersistentConnection>> idle_;
  std::thread thread_;
};

class PersistentConnection : public std::enable_shared_from_this<PersistentConnection> {
 public:
  PersistentConnection(net::io_context& io, const tcp::endpoint& server, Transport* transport)
      : transport_(transport), socket_(io), requests_(io, 1), calls_(io, 1), closed_(io, 1) {
    socket_.connect(server);
  }

  void Start() {
    const auto executor = socket_.get_executor();
    heldby::asio::co_spawn(
        executor, [self = shared_from_this()] { return self->ReadLoop(); }, net::detached,
        "read loop");
    heldby::asio::co_spawn(
        executor, [self = shared_from_this()] { return self->WriteLoop(); }, net::detached,
        "write loop");
  }

  Response RoundTrip(Request request) {
    std::promise<Response> promise;
    auto response = promise.get_future();
    calls_.try_send(error_code(), std::move(promise));
    requests_.try_send(error_code(), std::move(request));
    return response.get();
  }

  void CloseBody() {
    std::promise<void> promise;
    auto done = promise.get_future();
    closed_.try_send(error_code(), std::move(promise));
    done.get();
  }

  void Close() {
    net::post(socket_.get_executor(), [self = shared_from_this()] {
      self->requests_.close();
      self->calls_.close();
      self->closed_.close();
      self->socket_.close();
    });
  }

 private:
  template <typename Value>
  using Channel = heldby::asio::concurrent_channel<void(error_code, Value)>;

  awaitable<void> ReadLoop() {
    boost::beast::flat_buffer buffer;
    try {
      while (true) {
        std::promise<Response> call = co_await calls_.async_receive(use_awaitable);
        http::response_parser<http::string_body> parser;
        co_await http::async_read_header(socket_, buffer, parser, use_awaitable);
        const int status = parser.get().result_int();
        call.set_value(Response(status, shared_from_this()));
        // The body belongs to the caller now; what follows it cannot be read before.
        std::promise<void> closed = co_await closed_.async_receive(use_awaitable);
        co_await http::async_read(socket_, buffer, parser, use_awaitable);
        transport_->PutIdle(shared_from_this());
        closed.set_value();
      }
    } catch (const boost::system::system_error&) {
      // Closed, here or there: a caller that waits is told by its promise.
    }
  }

  awaitable<void> WriteLoop() {
    try {
      while (true) {
        Request request = co_await requests_.async_receive(use_awaitable);
        co_await http::async_write(socket_, request, use_awaitable);
      }
    } catch (const boost::system::system_error&) {
    }
  }

  Transport* transport_;
  heldby::asio::tcp_socket socket_;
  Channel<Request> requests_;
  Channel<std::promise<Response>> calls_;
  Channel<std::promise<void>> closed_;
};

void Response::Close() {
  if (const auto connection = std::exchange(connection_, nullptr)) connection->CloseBody();
}

Response Transport::RoundTrip(Request request) {
  auto connection = TakeIdle();
  if (connection == nullptr) {
    connection = std::make_shared<PersistentConnection>(io_, server_, this);
    connection->Start();
  }
  return connection->RoundTrip(std::move(request));
}

void Transport::CloseIdleConnections() {
  while (const auto connection = TakeIdle()) connection->Close();
}

Request HealthRequest() {
  Request request(http::verb::get, "/health", 11);
  request.set(http::field::host, "localhost");
  return request;
}

// The leak: the status is all that it wants.
[[gnu::noinline]] bool CheckHealth(Transport& transport) {
  const Response response = transport.RoundTrip(HealthRequest());
  return response.status() == 200;
}

[[gnu::noinline]] bool CheckHealthAndClose(Transport& transport) {
  Response response = transport.RoundTrip(HealthRequest());
  response.Close();
  return response.status() == 200;
}

struct Options {
  std::string calls = "200";
  std::string mode = "leak";
  std::string listen = "127.0.0.1:6060";
  std::string seconds = "600";
  std::string pause_ms = "0";
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value_of = [&](std::string_view name, std::string* value) {
      if (!argument.starts_with(name)) return false;
      *value = argument.substr(name.size());
      return true;
    };
    if (!value_of("--calls=", &options.calls) && !value_of("--mode=", &options.mode) &&
        !value_of("--listen=", &options.listen) && !value_of("--seconds=", &options.seconds) &&
        !value_of("--pause-ms=", &options.pause_ms)) {
      Fail("unknown argument \"" + std::string(argument) +
           "\"; accepted: --calls= --mode= --listen= --seconds= --pause-ms=");
    }
  }
  const long calls = std::atol(options.calls.c_str());
  if (calls < 1 || calls > 400) Fail("--calls is " + options.calls + "; accepted: 1 to 400");
  if (options.mode != "leak" && options.mode != "fixed") {
    Fail("--mode is \"" + options.mode + "\"; accepted: leak, fixed");
  }
  return options;
}

void WaitUntilInputIsClosed(long seconds) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char discarded[256];
  while (poll(&input, 1, static_cast<int>(seconds * 1000)) > 0) {
    if (read(STDIN_FILENO, discarded, sizeof(discarded)) <= 0) break;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  auto debug = heldby::DebugServer::Start({.listen = options.listen});
  if (!debug) Fail(debug.status().message());
  std::printf("debug endpoint on %s/debug/pprof/\n", debug->address().c_str());
  std::fflush(stdout);

  const HealthServer server;
  Transport transport(server.endpoint());
  const long calls = std::atol(options.calls.c_str());
  long healthy = 0;
  const std::chrono::milliseconds pause(std::atol(options.pause_ms.c_str()));
  for (long i = 0; i < calls; ++i) {
    std::this_thread::sleep_for(pause);
    healthy += options.mode == "leak" ? CheckHealth(transport) : CheckHealthAndClose(transport);
  }
  transport.CloseIdleConnections();
  std::printf("%ld calls made, %ld healthy, mode %s\n", calls, healthy, options.mode.c_str());
  std::fflush(stdout);
  WaitUntilInputIsClosed(std::atol(options.seconds.c_str()));
}
