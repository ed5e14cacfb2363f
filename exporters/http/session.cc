#include "exporters/http/session.h"

#include <poll.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "exporters/http/fork_fds.h"
#include "exporters/http/reply.h"
#include "exporters/http/request_counts.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using beast::error_code;
using std::chrono::steady_clock;

absl::string_view View(boost::core::string_view text) { return {text.data(), text.size()}; }

Request ToRequest(const beast::http::request<beast::http::string_body>& message) {
  Request request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  return request;
}

std::string SerializeHead(const Response& response, bool keep_alive) {
  const auto reason = beast::http::obsolete_reason(beast::http::int_to_status(response.status));
  std::string head = Concat("HTTP/1.1 ", response.status, " ", View(reason), "\r\n");
  for (const auto& [name, value] : response.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  // A HEAD response brings its own, the length of the body it does not have.
  if (FindHeader(response, "Content-Length") == nullptr) {
    absl::StrAppend(&head, "Content-Length: ", response.body.size(), "\r\n");
  }
  absl::StrAppend(&head, "Connection: ", keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  return head;
}

Response RouteNoThrow(const Router& router, const Request& request) {
  try {
    return router.Route(request);
  } catch (...) {  // metrics come from functions of the program's, which may throw anything
    Response response;
    response.status = 500;
    return response;
  }
}

// What never reached the router, or was told to come back. A client chooses none of the words.
void CountRefusal(int status) { ProcessRequestCounts().Add("other", status); }

}  // namespace

Session::Session(SessionHost& host, Socket socket, Channel channel)
    : host_(host),
      socket_(std::move(socket)),
      fd_(socket_.native_handle()),
      channel_(std::move(channel)),
      buffer_(host.limits().header_bytes + 64 * 1024) {}

Session::~Session() {
  if (state_ != State::kClosed) ForgetForkFd(fd_);
}

void Session::Start() { AwaitRequest(); }

void Session::TurnAway(Response response) {
  is_turned_away_ = true;
  CountRefusal(response.status);
  Write(std::move(response));
}

void Session::Enter(State state, std::chrono::nanoseconds time_allowed) {
  state_ = state;
  entered_ = steady_clock::now();
  deadline_ = entered_ + time_allowed;
}

std::optional<std::pair<int, Session::TimePoint>> Session::Expendable(TimePoint now) const {
  if (is_turned_away_) return std::nullopt;
  switch (state_) {
    case State::kIdle:  // keep-alive is a courtesy that a new client outranks
      return std::pair(is_first_request_ ? 1 : 0, entered_);
    case State::kDraining:
      return std::pair(0, entered_);
    case State::kHeader:  // who means it sends all of it at once
    case State::kBody:
      return std::pair(1, entered_);
    case State::kWriting:
      if (now - entered_ < host_.limits().write_grace) return std::nullopt;
      return std::pair(2, entered_);
    default:
      return std::nullopt;
  }
}

void Session::Tick(TimePoint now) {
  if (state_ == State::kClosed) return;
  if (state_ != State::kWorking) {
    if (now >= deadline_) Close();
    return;
  }
  pollfd descriptor{fd_, POLLRDHUP, 0};
  if (::poll(&descriptor, 1, 0) > 0) job_->cancelled.store(true, std::memory_order_relaxed);
}

void Session::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  if (job_) job_->cancelled.store(true, std::memory_order_relaxed);
  ForgetForkFd(fd_);
  error_code ignored;
  socket_.close(ignored);
}

void Session::AwaitRequest() {
  const Limits& limits = host_.limits();
  Enter(State::kIdle, is_first_request_ ? limits.header_timeout : limits.idle_timeout);
  if (buffer_.size() > 0) return ReadHeader();  // pipelined
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
    if (self->state_ != State::kIdle) return;
    if (error) return self->Close();
    self->ReadHeader();
  });
}

void Session::ReadHeader() {
  Enter(State::kHeader, host_.limits().header_timeout);
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(host_.limits().header_bytes));
  // Beast would judge the length before anyone knows who asks for what: OnHeader() does.
  parser_->body_limit(boost::none);
  beast::http::async_read_header(socket_, buffer_, *parser_,
                                 [self = shared_from_this()](error_code error, std::size_t) {
                                   if (self->state_ != State::kHeader) return;
                                   if (error) return self->OnReadError(error);
                                   self->OnHeader();
                                 });
}

void Session::OnReadError(error_code error) {
  using Error = beast::http::error;
  keep_alive_ = false;
  if (error == Error::header_limit || error == Error::buffer_overflow) {
    CountRefusal(431);
    return Write(ErrorReply(431, Concat("request header too large: at most ",
                                        host_.limits().header_bytes, " bytes")));
  }
  if (error == Error::body_limit) {
    CountRefusal(413);
    return Write(ErrorReply(413, Concat("request body too large: at most ", kMaxSymbolBodyBytes,
                                        " bytes of addresses")));
  }
  const bool is_parse_error = error.category() == make_error_code(Error::bad_method).category();
  if (!is_parse_error || error == Error::end_of_stream || error == Error::partial_message) {
    return Close();  // the client left, or the network did
  }
  CountRefusal(400);
  Write(ErrorReply(400, Concat("malformed HTTP request: ", error.message())));
}

void Session::OnHeader() {
  is_first_request_ = false;
  job_ = std::make_shared<Job>();
  job_->request = ToRequest(parser_->get());
  keep_alive_ = parser_->keep_alive();
  // Where such a body ends nobody can say, so it must not be taken for the next request:
  // RFC 9112, 6.3. Beast reads it as none.
  const bool is_endless = parser_->get().count(beast::http::field::transfer_encoding) > 0 &&
                          (!parser_->chunked() || parser_->get().version() == 10);
  const bool has_body =
      is_endless || parser_->chunked() || parser_->content_length().value_or(0) > 0;
  const std::size_t max_body_bytes = has_body ? Router::MaxBodyBytes(job_->request) : 0;
  // A body that nobody will read ends the connection: what follows it cannot be found.
  if (has_body && max_body_bytes == 0) keep_alive_ = false;
  auto refusal = host_.access().Refuse(job_->request, parser_->get().version() == 10, channel_);
  // A page needs no click to send its user along a link, and a download leaves it there to do
  // so again.
  if (!refusal && IsFromAnotherSite(job_->request) && Router::HasEffect(job_->request)) {
    refusal = ErrorReply(403, "a link from another site cannot start this: open it directly");
  }
  if (refusal) {
    CountRefusal(refusal->status);
    if (has_body) keep_alive_ = false;
    if (job_->request.method == "HEAD") refusal->body.clear();
    return Write(*std::move(refusal));
  }
  if (is_endless) {
    return OnReadError(make_error_code(beast::http::error::bad_transfer_encoding));
  }
  if (max_body_bytes == 0) return Dispatch();
  if (parser_->content_length().value_or(0) > max_body_bytes) {
    return OnReadError(make_error_code(beast::http::error::body_limit));
  }
  parser_->body_limit(max_body_bytes);  // while reading, for chunks
  if (parser_->get().version() == 10 ||
      !beast::iequals(parser_->get()[beast::http::field::expect], "100-continue")) {
    return ReadBody();
  }
  Enter(State::kBody, host_.limits().body_timeout);
  head_ = "HTTP/1.1 100 Continue\r\n\r\n";
  asio::async_write(socket_, asio::buffer(head_),
                    [self = shared_from_this()](error_code error, std::size_t) {
                      if (self->state_ != State::kBody) return;
                      if (error) return self->Close();
                      self->ReadBody();
                    });
}

void Session::ReadBody() {
  Enter(State::kBody, host_.limits().body_timeout);
  beast::http::async_read(socket_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, std::size_t) {
                            if (self->state_ != State::kBody) return;
                            if (error) return self->OnReadError(error);
                            self->job_->request.body = std::move(self->parser_->get().body());
                            self->Dispatch();
                          });
}

void Session::Dispatch() {
  Enter(State::kWorking, std::chrono::nanoseconds(0));
  // Nothing but its answer ends this state: without memory for one there is none.
  try {
    if (Router::IsImmediate(job_->request)) {
      return Write(RouteNoThrow(host_.router(), job_->request));
    }
    RunOnWorker();
  } catch (...) {
    Close();
  }
}

void Session::RunOnWorker() {
  // The job outlives the session if the client leaves; it never touches the session's thread.
  job_->request.cancelled = [job = job_.get()] {
    return job->cancelled.load(std::memory_order_relaxed);
  };
  const bool started = host_.RunOnWorker(
      Router::Waits(job_->request),
      [job = job_, &router = host_.router()] {
        job->response = RouteNoThrow(router, job->request);
      },
      [self = shared_from_this()] {
        if (self->state_ == State::kWorking) self->Write(std::move(self->job_->response));
      });
  if (started) return;
  CountRefusal(503);
  Response busy = ErrorReply(503, "too many requests at work: try again");
  busy.headers.emplace_back("Retry-After", "1");
  if (job_->request.method == "HEAD") busy.body.clear();
  Write(std::move(busy));
}

void Session::Write(Response response) {
  const Limits& limits = host_.limits();
  Enter(State::kWriting, limits.write_timeout);
  head_ = SerializeHead(response, keep_alive_);
  body_ = std::move(response.body);
  const std::array<asio::const_buffer, 2> buffers = {asio::buffer(head_), asio::buffer(body_)};
  // Time comes with what has been taken: a client that stopped reading a large answer does not
  // keep it for as long as a slow one would need.
  const auto go_on = [this, &limits](error_code error, std::size_t taken_bytes) -> std::size_t {
    deadline_ = entered_ + limits.write_timeout +
                std::chrono::seconds(taken_bytes / limits.write_bytes_per_second);
    return error ? 0 : 64 * 1024;
  };
  asio::async_write(socket_, buffers, go_on,
                    [self = shared_from_this()](error_code error, std::size_t) {
                      if (self->state_ != State::kWriting) return;
                      if (error) return self->Close();
                      self->OnWritten();
                    });
}

void Session::OnWritten() {
  std::string().swap(body_);  // an idle connection keeps no profile
  job_.reset();
  if (keep_alive_) return AwaitRequest();
  Enter(State::kDraining, std::chrono::seconds(1));
  error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  if (error) return Close();
  Drain();
}

// Closing with unread bytes makes the kernel send a reset, which can overtake the answer that
// explains why they were not read.
void Session::Drain() {
  buffer_.clear();
  socket_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this()](error_code error, std::size_t) {
                            if (self->state_ != State::kDraining) return;
                            if (error) return self->Close();
                            self->Drain();
                          });
}

}  // namespace heldby::http
