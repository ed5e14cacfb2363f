// Coroutines of Boost.Asio, plain and as tasks: what starting one costs, and what going on
// does.
//
//   asio_spawn plain|heldby OPERATIONS CHUNKS
//
// Prints "<ns of a coroutine, spawned, run and ended> <ns of a resumption>".
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "heldby/asio.h"

namespace heldby::bench {
namespace {

namespace net = boost::asio;
using Clock = std::chrono::steady_clock;

net::awaitable<void> Empty() { co_return; }

net::awaitable<void> Hop(long times) {
  for (long i = 0; i < times; ++i) co_await net::post(net::use_awaitable);
}

template <typename Awaitable>
void Spawn(bool plain, net::io_context& io, Awaitable awaitable) {
  if (plain) {
    net::co_spawn(io, std::move(awaitable), net::detached);
  } else {
    asio::co_spawn(io, std::move(awaitable), net::detached);
  }
}

template <typename Operation>
double FastestNs(long operations, long chunks, const Operation& operation) {
  double best_ns = 1e12;
  for (long chunk = 0; chunk < chunks; ++chunk) {
    const auto start = Clock::now();
    operation();
    const double ns = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    best_ns = std::min(best_ns, ns / static_cast<double>(operations));
  }
  return best_ns;
}

int Measure(bool plain, long operations, long chunks) {
  net::io_context io(1);
  const double spawn_ns = FastestNs(operations, chunks, [&] {
    for (long i = 0; i < operations; ++i) {
      Spawn(plain, io, Empty());
      io.restart();
      io.run();
    }
  });
  const double hop_ns = FastestNs(operations, chunks, [&] {
    Spawn(plain, io, Hop(operations));
    io.restart();
    io.run();
  });
  std::printf("%.1f %.1f\n", spawn_ns, hop_ns);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  if (argc == 4) {
    return heldby::bench::Measure(std::strcmp(argv[1], "plain") == 0, std::atol(argv[2]),
                                  std::atol(argv[3]));
  }
  std::fprintf(stderr, "usage: asio_spawn plain|heldby OPERATIONS CHUNKS\n");
  return 2;
}
