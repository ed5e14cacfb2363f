// heldby/status.h - success, or one clear sentence about what went wrong.
//
// Threads  values; as any std::string.
// Signals  unsafe: messages allocate.
// Self     nothing here is sampled specially.
// Units    none.
// Source   no exception crosses the public surface: every failure is a Status.
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace heldby {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,    // the caller's value is wrong; the message names it and what is accepted
  kNotFound,           // the thing named does not exist
  kPermissionDenied,   // refused by policy (no token, foreign host)
  kResourceExhausted,  // a bound of ours was reached
  kFailedPrecondition,  // right call, wrong moment
  kUnavailable,         // the environment does not allow it (port in use, no hooks)
  kDataLoss,            // input is truncated or corrupt
  kInternal,            // a bug of ours
};

/// A code and a message. An ok status has no message.
class [[nodiscard]] Status {
 public:
  Status() = default;
  /// REQUIRES: code != StatusCode::kOk.
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

/// A T, or the Status that says why there is none. Like a pointer: test it, then `*` or `->`.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT: implicit, so that
  Result(Status status) : status_(std::move(status)) {}  // NOLINT: `return x;` reads well

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }

  /// REQUIRES: ok().
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace heldby
