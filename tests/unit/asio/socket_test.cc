// Sockets, timers, channels and jobs of Boost.Asio, and Beast on top: what the registry knows
// of them without having been told.
#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "heldby/asio.h"
#include "tests/unit/asio/registry_view.h"

namespace heldby {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using net::awaitable;
using net::use_awaitable;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

class AsioSockets : public testing::Test {
 protected:
  ~AsioSockets() override {
    EXPECT_TRUE(Tasks().empty()) << Tasks()[0].name;
    EXPECT_TRUE(SnapshotConnections()->empty());
  }
  void Poll() {
    io.restart();
    io.poll();
  }
  // What arrives over loopback may take a moment.
  template <typename Condition>
  void RunUntil(const Condition& condition) {
    io.restart();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < deadline) io.run_one_for(10ms);
    EXPECT_TRUE(condition());
  }

  net::io_context io;
  asio::tcp_acceptor acceptor{io, {net::ip::address_v4::loopback(), 0}};
};

std::string TextOf(const net::ip::tcp::endpoint& endpoint) {
  return endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
}

TEST_F(AsioSockets, AConnectionIsKnownFromConnectToClose) {
  asio::tcp_socket client(io);
  EXPECT_EQ(client.connection_id(), ConnectionId::kNone);
  client.connect(acceptor.local_endpoint());
  const ConnectionInfo out = ConnectionWith(client.connection_id());
  EXPECT_EQ(out.direction, Direction::kOutbound);
  EXPECT_EQ(out.peer, TextOf(acceptor.local_endpoint()));
  EXPECT_EQ(out.fd, client.native_handle());
  bool named = false;
  for (const std::string& name : SymbolNames(out.opened_by)) {
    named = named || name.find("AConnectionIsKnownFromConnectToClose") != std::string::npos;
  }
  EXPECT_TRUE(named) << "who called connect() has opened it";

  asio::tcp_socket server = acceptor.accept();
  const ConnectionInfo in = ConnectionWith(server.connection_id());
  EXPECT_EQ(in.direction, Direction::kInbound);
  EXPECT_EQ(in.peer, TextOf(client.local_endpoint()));

  asio::tcp_socket moved(std::move(server));
  EXPECT_EQ(moved.connection_id(), in.id);
  asio::tcp_socket assigned(io);
  assigned = std::move(moved);
  EXPECT_EQ(assigned.connection_id(), in.id);
  client.close();
  EXPECT_EQ(SnapshotConnections()->size(), 1u);
}

TEST_F(AsioSockets, OneThatCannotConnectIsForgotten) {
  const auto nobody = acceptor.local_endpoint();
  acceptor.close();
  asio::tcp_socket client(io);
  boost::system::error_code error;
  client.connect(nobody, error);
  EXPECT_TRUE(error);
  EXPECT_THROW(client.connect(nobody), boost::system::system_error);
  EXPECT_EQ(client.connection_id(), ConnectionId::kNone);
  bool told = false;
  client.close();
  client.async_connect(nobody, [&](boost::system::error_code failed) {
    told = failed && client.connection_id() == ConnectionId::kNone;
  });
  EXPECT_EQ(ConnectionWith(client.connection_id()).state, "IO wait: connect");
  RunUntil([&] { return told; });
}

TEST_F(AsioSockets, WhoWaitsSaysForWhatAndWorksForTheConnection) {
  asio::tcp_socket client(io);
  asio::tcp_socket server(io);
  std::string got;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        server = co_await acceptor.async_accept(use_awaitable);
        char text[4];
        co_await net::async_read(server, net::buffer(text), use_awaitable);
        got.assign(text, sizeof(text));
      },
      net::detached, "server");
  Poll();
  EXPECT_EQ(TaskNamed("server").state, "IO wait: accept");
  client.connect(acceptor.local_endpoint());
  RunUntil([&] { return TaskNamed("server").state == "IO wait: read"; });
  const ConnectionInfo info = ConnectionWith(server.connection_id());
  EXPECT_EQ(TaskNamed("server").connection, server.connection_id());
  EXPECT_EQ(info.state, "IO wait: read");
  EXPECT_EQ(info.direction, Direction::kInbound);
  net::write(client, net::buffer(std::string("text")));
  RunUntil([&] { return got == "text"; });
  EXPECT_EQ(ConnectionWith(server.connection_id()).state, "");
}

TEST_F(AsioSockets, AStuckWriterWaitsToWrite) {
  asio::tcp_socket client(io);
  client.connect(acceptor.local_endpoint());
  asio::tcp_socket server = acceptor.accept();
  const std::string much(64 << 20, 'x');
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        co_await net::async_write(server, net::buffer(much), net::as_tuple(use_awaitable));
      },
      net::detached, "writer");
  Poll();
  EXPECT_EQ(TaskNamed("writer").state, "IO wait: write");
  EXPECT_EQ(ConnectionWith(server.connection_id()).state, "IO wait: write");
  server.close();
  Poll();
}

TEST_F(AsioSockets, ConnectingWaitsByNameAndTakesARange) {
  asio::tcp_socket client(io);
  std::string states;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        co_await client.async_connect(acceptor.local_endpoint(), use_awaitable);
        states +=
            ConnectionWith(client.connection_id()).peer == TextOf(acceptor.local_endpoint());
        client.close();
        const std::vector<net::ip::tcp::endpoint> endpoints{acceptor.local_endpoint()};
        co_await asio::async_connect(client, endpoints, use_awaitable);
        states += ConnectionWith(client.connection_id()).fd == client.native_handle();
      },
      net::detached, "dials");
  RunUntil([&] { return states.size() == 2; });
  EXPECT_EQ(states, (std::string{1, 1}));
}

TEST_F(AsioSockets, OneThatAnotherConnectedIsKnownWhenItIsUsed) {
  asio::tcp_socket client(io);
  net::connect(client, std::vector<net::ip::tcp::endpoint>{acceptor.local_endpoint()});
  asio::tcp_socket server = acceptor.accept();
  char byte = 0;
  client.async_read_some(net::buffer(&byte, 1), [](auto, auto) {});
  EXPECT_EQ(ConnectionWith(client.connection_id()).direction, Direction::kOutbound);
  client.close();
  Poll();
}

awaitable<void> ServeOnce(asio::tcp_socket socket) {
  boost::beast::flat_buffer buffer;
  http::request<http::string_body> request;
  co_await http::async_read(socket, buffer, request, use_awaitable);
  http::response<http::string_body> response{http::status::ok, 11,
                                             "hello " + std::string(request.target())};
  response.prepare_payload();
  co_await http::async_write(socket, response, use_awaitable);
}

TEST_F(AsioSockets, BeastWorksOnTopAndItsOwnStreamCanBeTracked) {
  std::string body;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        asio::co_spawn(io, ServeOnce(co_await acceptor.async_accept(use_awaitable)),
                       net::detached, "serve");
      },
      net::detached, "accept");
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        asio::tracked<boost::beast::tcp_stream> stream(co_await net::this_coro::executor);
        stream.expires_after(std::chrono::seconds(20));
        co_await stream.async_connect(acceptor.local_endpoint(), use_awaitable);
        EXPECT_EQ(ConnectionWith(stream.connection_id()).peer,
                  TextOf(acceptor.local_endpoint()));
        http::request<http::empty_body> request{http::verb::get, "/x", 11};
        co_await http::async_write(stream, request, use_awaitable);
        boost::beast::flat_buffer buffer;
        http::response<http::string_body> response;
        co_await http::async_read(stream, buffer, response, use_awaitable);
        body = response.body();
      },
      net::detached, "ask");
  RunUntil([&] { return !body.empty(); });
  EXPECT_EQ(body, "hello /x");
  RunUntil([&] { return Tasks().empty(); });
}

TEST_F(AsioSockets, TimersSleepAndChannelsReceiveAndSend) {
  asio::steady_timer timer(io, 1h);
  asio::channel<void(boost::system::error_code, std::unique_ptr<int>)> channel(io);
  int got = 0;
  asio::co_spawn(
      io,
      [&]() -> awaitable<void> {
        got = *co_await channel.async_receive(use_awaitable);
        co_await timer.async_wait(net::as_tuple(use_awaitable));
        co_await channel.async_send({}, std::make_unique<int>(2), net::as_tuple(use_awaitable));
      },
      net::detached, "waits");
  Poll();
  EXPECT_EQ(TaskNamed("waits").state, "chan receive");
  channel.async_send({}, std::make_unique<int>(1), [](auto) {});
  Poll();
  EXPECT_EQ(got, 1);
  EXPECT_EQ(TaskNamed("waits").state, "sleep");
  timer.cancel();
  Poll();
  EXPECT_EQ(TaskNamed("waits").state, "chan send");
  channel.cancel();
  Poll();
}

TEST_F(AsioSockets, AJobIsQueuedUntilItRunsOnItsOwnExecutor) {
  const Connection connection(-1, Direction::kInbound);
  auto strand = net::make_strand(io);
  TaskInfo running;
  bool on_strand = false;
  {
    const Task task("request", {.connection = connection.id()});
    asio::post(io,
               net::bind_executor(strand,
                                  [&, owned = std::make_unique<int>(1)] {
                                    running = TaskNamed("job");
                                    on_strand = strand.running_in_this_thread();
                                  }),
               "job");
    asio::defer(io, [] {});
    asio::dispatch(
        io, [] {}, "dispatched");
  }
  EXPECT_EQ(TaskNamed("job").state, "queued");
  EXPECT_EQ(TaskNamed("TestBody").state, "queued");
  EXPECT_EQ(TaskNamed("dispatched").connection, connection.id());
  Poll();
  EXPECT_TRUE(running.running);
  EXPECT_TRUE(on_strand);
  EXPECT_EQ(running.connection, connection.id());
  {
    net::io_context never;
    asio::post(
        never, [] {}, "never");
  }
  EXPECT_EQ(TaskNamed("never").id, TaskId::kNone);
}

}  // namespace
}  // namespace heldby
