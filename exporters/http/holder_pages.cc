#include "exporters/http/holder_pages.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "exporters/http/reply.h"
#include "exporters/http/table_page.h"
#include "heldby/connection.h"
#include "heldby/profile.h"
#include "heldby/symbolize.h"
#include "heldby/task.h"
#include "profile/simplify.h"
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

constexpr std::size_t kFramesAsked = 6;
constexpr std::size_t kOpenersShown = 3;

// The functions that opened it, innermost first, inlined ones too: one alone is often a
// wrapper. The standard library's, a thread's start for instance, tell nobody anything.
std::string OpenerText(const Profile& names, const std::vector<LocationId>& stack) {
  std::string text;
  std::size_t shown = 0;
  for (const LocationId id : stack) {
    for (const Line& line : names.locations[static_cast<std::size_t>(id) - 1].lines) {
      const Function& function = names.functions[static_cast<std::size_t>(line.function) - 1];
      if (function.name.empty() || function.name.starts_with("std::")) continue;
      if (shown++ == kOpenersShown) return text;
      absl::StrAppend(&text, text.empty() ? "" : " < ", SimplifyFunctionName(function.name));
    }
  }
  return text;
}

// As a profile, of which one sample is one row: so all stacks are named at once, with lines and
// inlined functions. One by one, each would cost a pass over the symbol tables.
std::vector<std::string> OpenersOf(const std::vector<ConnectionInfo>& connections,
                                   std::size_t count) {
  Profile profile;
  profile.sample_types = {{"connections", "count"}};
  std::map<std::uint64_t, std::size_t> places;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& stack = connections[i].opened_by;
    Sample sample;
    sample.values = {1};
    sample.labels = {
        {.key = "row", .number = static_cast<std::int64_t>(i), .number_unit = "row"}};
    for (std::size_t k = 0; k < std::min(stack.size(), kFramesAsked); ++k) {
      const auto [place, is_new] = places.try_emplace(stack[k], places.size() + 1);
      if (is_new) {
        profile.locations.push_back(
            {.mapping = MappingId::kNone, .address = stack[k], .lines = {}});
      }
      sample.stack.push_back(LocationId{static_cast<std::uint32_t>(place->second)});
    }
    if (!sample.stack.empty()) profile.samples.push_back(std::move(sample));
  }
  SymbolizeProfile(&profile);
  std::vector<std::string> openers(count);
  for (const Sample& sample : profile.samples) {
    openers[static_cast<std::size_t>(sample.labels[0].number)] =
        OpenerText(profile, sample.stack);
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
      "from samples; queues are the kernel's. They are those that the program makes "
      "known (heldby::Connection) and, under `heldby run`, those that its calls show: "
      "attribution "
      "is then implicit.";
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
                  {"attribution"},
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
         std::int64_t{info.fd}, static_cast<std::int64_t>(info.id),
         std::string(info.implicit ? "implicit" : ""), openers[i]});
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
