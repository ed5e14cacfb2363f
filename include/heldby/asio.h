// heldby/asio.h - Boost.Asio and Beast: tasks and connections that nobody registers by hand.
//
// Threads  as the Asio object that each of these stands for.
// Signals  unsafe.
// Self     what this keeps beside a coroutine, an operation or a socket is never sampled.
// Allocates  one block for a coroutine, one for a socket that is open.
// Units    none.
// Bounds   those of heldby/task.h and heldby/connection.h; beyond them everything runs as
//          before, and is not seen.
// Source   docs/holders.md; Boost 1.81. Needs Boost's headers, and nothing else here does.
//
//   heldby::asio::co_spawn(context, ReadLoop(socket), boost::asio::detached);
//
// A name of Asio's is here where the registry has something to learn: co_spawn, post, dispatch
// and defer, tcp_socket and tcp_acceptor, steady_timer, channel. All else is used from Asio,
// and mixes with these.
#pragma once

#include "heldby/asio/acceptor.h"      // IWYU pragma: export
#include "heldby/asio/channel.h"       // IWYU pragma: export
#include "heldby/asio/post.h"          // IWYU pragma: export
#include "heldby/asio/socket.h"        // IWYU pragma: export
#include "heldby/asio/spawn.h"         // IWYU pragma: export
#include "heldby/asio/steady_timer.h"  // IWYU pragma: export
