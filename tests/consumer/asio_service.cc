// A service on Boost.Asio: its coroutine and its connection are seen with nothing said of them.
#include <heldby/asio.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>

namespace {

using boost::asio::awaitable;
using boost::asio::use_awaitable;

awaitable<void> Serve(heldby::asio::tcp_acceptor& acceptor) {
  heldby::asio::tcp_socket socket = co_await acceptor.async_accept(use_awaitable);
  char byte;
  co_await socket.async_read_some(boost::asio::buffer(&byte, 1), use_awaitable);
}

}  // namespace

int main() {
  boost::asio::io_context context;
  heldby::asio::tcp_acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
  heldby::asio::tcp_socket client(context);
  heldby::asio::co_spawn(context, Serve(acceptor), boost::asio::detached, "serve");
  client.connect(acceptor.local_endpoint());
  for (int i = 0; i < 1000; ++i) {
    context.run_one_for(std::chrono::milliseconds(10));
    const auto tasks = heldby::SnapshotTasks();
    const auto connections = heldby::SnapshotConnections();
    if (!tasks || !connections) return 1;
    if (tasks->size() == 1 && (*tasks)[0].state == "IO wait: read" &&
        connections->size() == 2) {
      std::puts("seen");
      return 0;
    }
  }
  return 1;
}
