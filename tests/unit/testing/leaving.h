// What the tests of leaving_tests use: code of a service that can be left unfinished. Functions
// stand in stacks by these names, so they are not inlined.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "heldby/connection.h"
#include "heldby/labels.h"
#include "heldby/task.h"

#define SERVICE_CALL [[gnu::noinline]] inline

namespace service {

// Reachable to the end of the program: no leak for a leak checker.
struct Kept {
  std::deque<heldby::Connection> connections;
  std::deque<heldby::AsyncTask> tasks;
  std::deque<std::unique_ptr<char[]>> blocks;
};
inline Kept& TheKept() {
  static Kept* kept = new Kept;
  return *kept;
}

SERVICE_CALL void OpenUpstream() {
  TheKept().connections.emplace_back(-1, heldby::Direction::kOutbound);
  TheKept().connections.back().SetState("waiting for a reply");
}
SERVICE_CALL void QueueJob() {
  TheKept().tasks.emplace_back("thumbnail");
  TheKept().tasks.back().SetState("queued");
}
SERVICE_CALL void FillBuffer(std::size_t bytes) {
  TheKept().blocks.push_back(std::make_unique<char[]>(bytes));
}
SERVICE_CALL void FillRouteCache(std::size_t bytes) {
  const heldby::ScopedLabels labels({{"route", "/download"}});
  FillBuffer(bytes);
}

}  // namespace service
