// A server of coroutines that echoes, and a client that talks to it, until standard input ends.
// Its labels are what a program should not have and may.
#include <heldby/asio.h>
#include <heldby/heldby.h>
#include <unistd.h>

#include <array>
#include <boost/asio.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

namespace net = boost::asio;
using net::use_awaitable;

namespace {

net::awaitable<void> Echo(heldby::asio::tcp_socket socket) {
  std::array<char, 64> bytes;
  try {
    for (;;) {
      const std::size_t size =
          co_await socket.async_read_some(net::buffer(bytes), use_awaitable);
      co_await net::async_write(socket, net::buffer(bytes, size), use_awaitable);
    }
  } catch (const std::exception&) {  // the client is done
  }
}

net::awaitable<void> Serve(heldby::asio::tcp_acceptor& acceptor) {
  for (;;) {
    heldby::asio::tcp_socket socket = co_await acceptor.async_accept(use_awaitable);
    heldby::asio::co_spawn(acceptor.get_executor(), Echo(std::move(socket)), net::detached);
  }
}

net::awaitable<void> Talk(net::ip::tcp::endpoint server) {
  const auto executor = co_await net::this_coro::executor;
  heldby::asio::steady_timer timer(executor);
  std::array<char, 64> bytes{};
  for (;;) {
    heldby::asio::tcp_socket socket(executor);
    co_await socket.async_connect(server, use_awaitable);
    for (int i = 0; i < 3; ++i) {
      co_await net::async_write(socket, net::buffer(bytes), use_awaitable);
      co_await net::async_read(socket, net::buffer(bytes), use_awaitable);
    }
    socket.close();
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(use_awaitable);
  }
}

}  // namespace

int main() {
  auto debug = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  if (!debug) return 1;
  net::io_context context;
  heldby::asio::tcp_acceptor acceptor(context, {net::ip::address_v4::loopback(), 0});
  {
    const heldby::ScopedLabels labels{{"quoted\"", "\xFF\xC0\x80\n\\"}};
    heldby::asio::co_spawn(context, Serve(acceptor), net::detached);
    heldby::asio::co_spawn(context, Talk(acceptor.local_endpoint()), net::detached);
  }
  std::thread second([&context] { context.run(); });
  std::thread stop([&context] {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    context.stop();
  });
  std::printf("debug endpoint on %s\n", debug->address().c_str());
  std::fflush(stdout);
  context.run();
  second.join();
  stop.join();
}
