// What the registry says, as the tests of the integration headers look at it.
#pragma once

#include <cxxabi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "heldby/connection.h"
#include "heldby/symbolize.h"
#include "heldby/task.h"
#include "runtime/core_access.h"

namespace heldby {

inline std::vector<TaskInfo> Tasks() {
  auto all = SnapshotTasks();
  EXPECT_TRUE(all) << all.status().message();
  std::erase_if(*all, [](const TaskInfo& task) { return task.ended; });
  return std::move(*all);
}

/// The one that is open under this name; without an id if there is none.
inline TaskInfo TaskNamed(const std::string& name) {
  const auto all = Tasks();
  const auto found = std::ranges::find(all, name, &TaskInfo::name);
  return found == all.end() ? TaskInfo{} : *found;
}

inline ConnectionInfo ConnectionWith(ConnectionId id) {
  const auto all = SnapshotConnections();
  const auto found = std::ranges::find(*all, id, &ConnectionInfo::id);
  return found == all->end() ? ConnectionInfo{} : *found;
}

inline std::string Demangled(const std::string& name) {
  // A coroutine's function may be cut in parts: `f(int) [clone .actor]`.
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string plain = status == 0 ? text : name;
  std::free(text);
  return plain;
}

struct ChainFrame {
  std::string function;
  std::string at;  // the function and line where it waits, where it says so
};

/// The coroutines of a parked task, innermost first.
inline std::vector<ChainFrame> ChainOf(TaskId task) {
  struct Wanted {
    std::uint32_t task;
    std::vector<std::uint64_t> code;
    std::vector<std::string> at;
  } wanted{static_cast<std::uint32_t>(task), {}, {}};
  const core::RegistryApi* registry = runtime::Core()->registry;
  registry->visit_tasks(
      [](void* context, const core::TaskView& view) {
        auto* wanted = static_cast<Wanted*>(context);
        if (view.id != wanted->task) return;
        for (const auto* frame = view.chain; frame != nullptr; frame = frame->awaiter) {
          wanted->code.push_back(reinterpret_cast<std::uint64_t>(frame->code));
          const core::Place place = runtime::Core()->registry->place(frame->place);
          wanted->at.push_back(place.function == nullptr ? ""
                                                         : std::string(place.function) + ":" +
                                                               std::to_string(place.line));
        }
      },
      &wanted);
  std::vector<ChainFrame> chain;
  const std::vector<std::string> names = SymbolNames(wanted.code);
  for (std::size_t i = 0; i < names.size(); ++i) {
    chain.push_back({Demangled(names[i]), wanted.at[i]});
  }
  return chain;
}

/// For messages.
inline std::string TextOf(const std::vector<ChainFrame>& chain) {
  std::string text;
  for (const ChainFrame& frame : chain) text += frame.function + " " + frame.at + "\n";
  return text;
}

/// Whether the chain has these functions, in this order, and nothing between or around them
/// but Asio's own.
inline testing::AssertionResult IsChain(const std::vector<ChainFrame>& chain,
                                        const std::vector<std::string>& functions) {
  std::size_t next = 0;
  for (const ChainFrame& frame : chain) {
    if (frame.function.starts_with("boost::asio::")) continue;
    if (next == functions.size() ||
        frame.function.find(functions[next] + "(") == std::string::npos) {
      return testing::AssertionFailure() << "unexpected: " << TextOf(chain);
    }
    ++next;
  }
  if (next != functions.size()) {
    return testing::AssertionFailure() << functions[next] << " is missing: " << TextOf(chain);
  }
  return testing::AssertionSuccess();
}

}  // namespace heldby
