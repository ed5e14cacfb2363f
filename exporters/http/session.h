// exporters/http/session.h - one connection, from its first byte to its last.
//
//   kIdle --readable--> kHeader --header--> kBody --body--> kWorking --response--> kWriting
//     ^                     |_____________no body______________^                      |
//     |__________________________keep-alive (pipelined bytes stay in buffer_)_________|
//                                                             else kDraining --> kClosed
//
// Every state but kWorking has a deadline; kWorking watches for the client leaving instead.
//
// Threads  the IO thread alone.
// Signals  unsafe.
// Bounds   Limits; a drained connection is read for at most one second.
#pragma once

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "exporters/http/access.h"
#include "exporters/http/server.h"
#include "heldby/http.h"

namespace heldby::http {

/// What a session asks of the server it belongs to.
class SessionHost {
 public:
  virtual const Limits& limits() const = 0;
  virtual const AccessPolicy& access() const = 0;
  virtual const Router& router() const = 0;
  /// Runs `work` on a thread of its own, then `done` on the IO thread. False: none is free, or
  /// none for one that `waits`: those may not have them all.
  virtual bool RunOnWorker(bool waits, std::function<void()> work,
                           std::function<void()> done) = 0;

 protected:
  ~SessionHost() = default;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Takes over a connected, non-blocking descriptor that CloseInForkedChild() knows.
  /// REQUIRES: `host` outlives every callback, that is, the io_context.
  Session(SessionHost& host, Socket socket, Channel channel);
  ~Session();

  void Start();
  /// Instead of Start(): answers before any request and closes.
  void TurnAway(Response response);
  /// Called ten times a second: deadlines, and clients that left during kWorking.
  void Tick(TimePoint now);
  void Close();

  bool is_closed() const { return state_ == State::kClosed; }
  bool is_turned_away() const { return is_turned_away_; }
  /// How much better it is than others to give way to a new connection, and since when it is in
  /// this state: the least of all gives way. Nothing: it may not.
  std::optional<std::pair<int, TimePoint>> Expendable(TimePoint now) const;

 private:
  enum class State { kIdle, kHeader, kBody, kWorking, kWriting, kDraining, kClosed };
  struct Job {
    Request request;
    Response response;
    std::atomic<bool> cancelled{false};
  };
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void Enter(State state, std::chrono::nanoseconds time_allowed);
  void AwaitRequest();
  void ReadHeader();
  void OnHeader();
  void ReadBody();
  void OnReadError(boost::beast::error_code error);
  void Dispatch();
  void RunOnWorker();
  void Write(Response response);
  void OnWritten();
  void Drain();

  SessionHost& host_;
  Socket socket_;
  const int fd_;
  const Channel channel_;
  State state_ = State::kIdle;
  bool is_first_request_ = true;
  bool is_turned_away_ = false;
  bool keep_alive_ = false;
  TimePoint entered_{};
  TimePoint deadline_{};
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::shared_ptr<Job> job_;
  std::string head_;
  std::string body_;
};

}  // namespace heldby::http
