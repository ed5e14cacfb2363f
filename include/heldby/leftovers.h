// heldby/leftovers.h - what a piece of the program has left behind: connections, tasks, bytes.
//
// Threads  any; a Checkpoint and Leftovers are values.
// Signals  unsafe: allocates, reads files, may start a short-lived child for line numbers.
// Self     allocations made inside these calls are never sampled.
// Units    *_ns nanoseconds, *_bytes bytes.
// Bounds   those of connections, tasks and samples: what was not recorded is told in
//          Leftovers::unseen. A text has 20 things and 16 frames of each stack, and says how
//          many more there are.
// Source   docs/testing.md. For GoogleTest: heldby/testing.h, which asks after every test.
//
//   const heldby::Checkpoint before;
//   server.Handle(request);
//   const auto left = heldby::LeftoversSince(before, {.wait_ns = 2'000'000'000});
//   if (left && !left->items.empty()) std::puts(left->Text().c_str());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "heldby/status.h"

namespace heldby {

/// What there is when it is made. While one lives, every task keeps the stack that made it,
/// which costs a microsecond each; otherwise one in 64 does.
class Checkpoint {
 public:
  Checkpoint();

  struct State;
  /// nullptr: there is no core of this version, or no memory.
  [[nodiscard]] const State* state() const { return state_.get(); }

 private:
  std::shared_ptr<const State> state_;
};

/// `*` is any text, `?` any character; the rest is what it is, and all of a text has to match.
using Glob = std::string;

struct LeftoverOptions {
  bool connections = true;
  bool tasks = true;
  /// Those that have a label of the program's (heldby/labels.h), or were allocated for a task
  /// or a connection that is new since the checkpoint. What is allocated for one that was there
  /// before is that one's; what glibc allocates for a thread's variables is glibc's.
  bool labelled_bytes = true;
  /// By Leftover::name: "flusher", "outbound 10.0.0.7:*".
  std::vector<Glob> ignore_names{};
  /// By a function anywhere in a stack, with its parameters or, as texts have it, without.
  std::vector<Glob> ignore_functions{};
  /// By a label: "tenant=*".
  std::vector<Glob> ignore_labels{};
  /// Of the program around what is looked at: from the outermost such function inwards they end
  /// every stack. What one of them allocates when it is called from within is its own, and no
  /// leftover.
  std::vector<Glob> root_functions{};
  /// As long as anything is there it looks again, after 1 ms, 2 ms, 4 ms ... up to this.
  std::int64_t wait_ns = 0;
};

enum class LeftoverKind { kConnection, kTask, kBytes };

/// One call of a stack; inlined ones, too. Empty, 0: not known.
struct StackFrame {
  std::string function{};  // in full; "0x7f..." if it has no name
  std::string file{};
  std::int64_t line = 0;
  bool operator==(const StackFrame&) const = default;
};

/// One thing, or several that cannot be told apart.
struct Leftover {
  LeftoverKind kind{};
  std::int64_t count = 0;  // of bytes: of blocks
  /// A task's, or "unnamed"; of a connection "inbound" or "outbound", and its peer if there is
  /// one; of bytes the name of the task, or else connection, that they were allocated for.
  std::string name{};
  std::string state{};  // of a task or a connection, with its place: "waiting (cache.cc:41)"
  std::vector<std::pair<std::string, std::string>> labels{};
  std::int64_t bytes = 0;              // those; of a task or a connection, what it holds
  std::vector<StackFrame> stack{};     // who made, opened or allocated it; innermost first
  std::vector<StackFrame> waits_in{};  // of a task: the coroutines it is parked in
};

struct Leftovers {
  std::vector<Leftover>
      items{};  // connections, tasks, bytes; of each, those that hold most first
  std::vector<std::string> unseen{};  // what may have been missed, and why: one sentence each

  /// All of it for people, with what to ignore to be rid of each. Empty if `items` is.
  [[nodiscard]] std::string Text() const;
};

/// What is there and was not at `checkpoint`, but for what `options` ignore.
///
/// kUnavailable         the core of another version, or none
/// kFailedPrecondition  the checkpoint was taken before this process was forked
/// kResourceExhausted   no memory for the list
[[nodiscard]] Result<Leftovers> LeftoversSince(const Checkpoint& checkpoint,
                                               const LeftoverOptions& options = {});

/// What LeftoversSince() would miss if it were asked now: Leftovers::unseen.
[[nodiscard]] std::vector<std::string> UnseenLeftovers(const LeftoverOptions& options = {});

}  // namespace heldby
