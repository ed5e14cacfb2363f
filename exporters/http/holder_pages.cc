#include "exporters/http/holder_pages.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "exporters/http/reply.h"
#include "exporters/http/table_page.h"
#include "heldby/connection.h"
#include "heldby/symbolize.h"
#include "heldby/task.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

std::int64_t Seconds(std::int64_t ns) { return ns / 1'000'000'000; }

std::string LabelText(const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string text;
  for (const auto& [key, value] : labels) {
    text += Concat(text.empty() ? "" : " ", key, "=", value);
  }
  return text;
}

// The function that opened it and the one that called that: one alone is often a wrapper.
std::string OpenerText(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    text += Concat(text.empty() ? "" : " < ", name);
  }
  return text;
}

struct PageRequest {
  PageFormat format;
  std::size_t limit;
};

Result<PageRequest> Read(const Request& request, const Query& query) {
  const auto format = FormatFor(request, query);
  if (!format) return format.status();
  const auto limit = LimitFor(query);
  if (!limit) return limit.status();
  return PageRequest{*format, *limit};
}

std::string IdText(std::uint32_t id) { return id == 0 ? std::string() : std::to_string(id); }

constexpr std::size_t kOpenersShown = 2;

// All shown stacks at once: one by one, each would cost a pass over the symbol tables.
std::vector<std::string> OpenersOf(const std::vector<ConnectionInfo>& connections,
                                   std::size_t count) {
  std::vector<std::uint64_t> addresses;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& stack = connections[i].opened_by;
    addresses.insert(
        addresses.end(), stack.begin(),
        stack.begin() + static_cast<std::ptrdiff_t>(std::min(stack.size(), kOpenersShown)));
  }
  const std::vector<std::string> names = SymbolNames(addresses);
  std::vector<std::string> openers;
  for (std::size_t i = 0, at = 0; i < count; ++i) {
    std::vector<std::string> mine;
    for (std::size_t k = 0; k < std::min(connections[i].opened_by.size(), kOpenersShown); ++k) {
      if (at < names.size()) mine.push_back(names[at++]);
    }
    openers.push_back(OpenerText(mine));
  }
  return openers;
}

}  // namespace

Response ConnectionsPage(const Request& request, const Query& query) {
  const auto asked = Read(request, query);
  if (!asked) return ErrorReply(400, asked.status().message());
  const auto connections = SnapshotConnections();
  if (!connections) return ErrorReply(500, connections.status().message());

  TablePage page;
  page.title = "/debug/connections";
  page.rows_are = "connections";
  page.introduction =
      "Connections of this process, those that hold most heap first. held_bytes is an estimate "
      "from samples; queues are the kernel's. Connections that the program does not make known "
      "(heldby::Connection) are not in it.";
  page.columns = {{"held_bytes", true},
                  {"peer"},
                  {"direction"},
                  {"what_is_wrong"},
                  {"stalled_s", true},
                  {"state"},
                  {"state_s", true},
                  {"age_s", true},
                  {"unsent_bytes", true},
                  {"unread_bytes", true},
                  {"queued_bytes", true},
                  {"task"},
                  {"labels"},
                  {"fd", true},
                  {"id", true},
                  {"opened_by"}};
  page.rows_total = connections->size();
  const std::size_t count = std::min(asked->limit, connections->size());
  const std::vector<std::string> openers = OpenersOf(*connections, count);
  for (std::size_t i = 0; i < count; ++i) {
    const ConnectionInfo& info = (*connections)[i];
    page.rows.push_back(
        {info.held_bytes, info.peer,
         std::string(info.direction == Direction::kInbound ? "in" : "out"),
         info.ended ? std::string("ended, and still holds memory") : info.verdict,
         Seconds(info.stalled_ns), info.state, Seconds(info.state_age_ns), Seconds(info.age_ns),
         static_cast<std::int64_t>(info.unsent_bytes),
         static_cast<std::int64_t>(info.unread_bytes),
         static_cast<std::int64_t>(info.queued_bytes), info.task, LabelText(info.labels),
         std::int64_t{info.fd}, static_cast<std::int64_t>(info.id), openers[i]});
  }
  return Render(page, asked->format);
}

Response TasksPage(const Request& request, const Query& query) {
  const auto asked = Read(request, query);
  if (!asked) return ErrorReply(400, asked.status().message());
  const auto tasks = SnapshotTasks();
  if (!tasks) return ErrorReply(500, tasks.status().message());

  TablePage page;
  page.title = "/debug/tasks";
  page.rows_are = "tasks";
  page.introduction =
      "Tasks of this process (heldby::Task), those that hold most heap first, then the oldest.";
  page.columns = {{"held_bytes", true}, {"name"},       {"state"},  {"state_s", true},
                  {"age_s", true},      {"connection"}, {"parent"}, {"labels"},
                  {"id", true},         {"made_in"},    {"at"}};
  page.rows_total = tasks->size();
  for (std::size_t i = 0; i < std::min(asked->limit, tasks->size()); ++i) {
    const TaskInfo& info = (*tasks)[i];
    page.rows.push_back(
        {info.held_bytes, info.name,
         info.ended ? std::string("ended, and still holds memory") : info.state,
         Seconds(info.state_age_ns), Seconds(info.age_ns),
         IdText(static_cast<std::uint32_t>(info.connection)),
         IdText(static_cast<std::uint32_t>(info.parent)), LabelText(info.labels),
         static_cast<std::int64_t>(info.id), info.function,
         info.file.empty() ? std::string() : Concat(info.file, ":", info.line)});
  }
  return Render(page, asked->format);
}

}  // namespace heldby::http
