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
#include "heldby/goroutine.h"
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

constexpr std::size_t kFramesAsked = 12;
constexpr std::size_t kFunctionsShown = 3;

// How a thread starts and waits is the same for all of them.
bool IsOfTheSystem(const Profile& names, const Location& location) {
  if (location.mapping == MappingId::kNone) return false;
  const auto at = static_cast<std::size_t>(location.mapping) - 1;
  const std::string_view file = names.mappings[at].filename;
  const std::string_view base = file.substr(file.rfind('/') + 1);
  return base.starts_with("libc.so") || base.starts_with("ld-linux") ||
         base.starts_with("libstdc++.so");
}

// The functions of a stack, innermost first, inlined ones too: one alone is often a wrapper.
// Those of the standard library and of our integration headers tell nobody anything.
std::string FunctionsText(const Profile& names, const std::vector<LocationId>& stack) {
  std::string text;
  std::size_t shown = 0;
  for (const LocationId id : stack) {
    const Location& location = names.locations[static_cast<std::size_t>(id) - 1];
    if (IsOfTheSystem(names, location)) continue;
    for (const Line& line : location.lines) {
      const Function& function = names.functions[static_cast<std::size_t>(line.function) - 1];
      const std::string name = SimplifyFunctionName(function.name);
      if (name.empty() || name.starts_with("std::") || name.starts_with("heldby::asio::")) {
        continue;
      }
      if (shown++ == kFunctionsShown) return text;
      absl::StrAppend(&text, text.empty() ? "" : " < ", name);
    }
  }
  return text;
}

const Label* Find(const Sample& sample, std::string_view key) {
  const auto found = std::ranges::find(sample.labels, key, &Label::key);
  return found == sample.labels.end() ? nullptr : &*found;
}
std::int64_t NumberOf(const Sample& sample, std::string_view key) {
  const Label* label = Find(sample, key);
  return label == nullptr ? 0 : label->number;
}
std::string TextOf(const Sample& sample, std::string_view key) {
  const Label* label = Find(sample, key);
  return label == nullptr ? std::string() : label->text;
}

struct Where {
  std::string state;  // what it waits for
  std::string at;     // "Read < Serve < main"
};

// Where tasks and threads are. Nobody is disturbed for a page: a thread that runs has no stack.
struct Whereabouts {
  std::map<std::int64_t, Where> of_task;
  std::map<std::int64_t, Where> of_connection;
  std::vector<std::size_t> threads;  // those without a task, as places in the profile
  Profile profile;
};

Whereabouts FindAll() {
  Whereabouts found;
  auto profile = SnapshotGoroutines({.each = true, .may_signal = false});
  if (!profile) return found;
  found.profile = *std::move(profile);
  for (std::size_t i = 0; i < found.profile.samples.size(); ++i) {
    const Sample& sample = found.profile.samples[i];
    const Where where = {TextOf(sample, "state"), FunctionsText(found.profile, sample.stack)};
    const std::int64_t task = NumberOf(sample, "task_id");
    if (task != 0) found.of_task.emplace(task, where);
    if (task == 0 && Find(sample, "thread") != nullptr) found.threads.push_back(i);
    if (const std::int64_t id = NumberOf(sample, "connection")) {
      found.of_connection.emplace(id, where);
    }
  }
  return found;
}

const Where& Get(const std::map<std::int64_t, Where>& known, std::int64_t id) {
  static const Where kNowhere;
  const auto found = known.find(id);
  return found == known.end() ? kNowhere : found->second;
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
        FunctionsText(profile, sample.stack);
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
      "attribution is then implicit.";
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
                  {"waits_for"},
                  {"at"},
                  {"labels"},
                  {"fd", true},
                  {"id", true},
                  {"attribution"},
                  {"opened_by"}};
  page.rows_total = connections->size();
  const std::size_t count = std::min(asked->limit, connections->size());
  const std::vector<std::string> openers = OpenersOf(*connections, count);
  const Whereabouts whereabouts = FindAll();
  for (std::size_t i = 0; i < count; ++i) {
    const ConnectionInfo& info = (*connections)[i];
    const Where& where = Get(whereabouts.of_connection, static_cast<std::int64_t>(info.id));
    std::vector<Cell> row = {
        info.held_bytes,
        info.peer,
        std::string(info.direction == Direction::kInbound ? "in" : "out"),
        info.ended ? std::string("ended, and still holds memory") : info.verdict,
        Seconds(info.stalled_ns),
        info.state,
        Seconds(info.state_age_ns),
        Seconds(info.age_ns),
        static_cast<std::int64_t>(info.unsent_bytes),
        static_cast<std::int64_t>(info.unread_bytes),
        static_cast<std::int64_t>(info.queued_bytes),
        info.task,
        where.state,
        where.at,
        LabelText(info.labels),
        std::int64_t{info.fd},
        static_cast<std::int64_t>(info.id),
        std::string(info.implicit ? "implicit" : ""),
        openers[i]};
    if (!AddRow(&page, std::move(row))) break;
  }
  return Render(page, asked->format);
}

namespace {

// A thread that works for no task, as a row of the same columns.
std::vector<Cell> RowOf(const Whereabouts& whereabouts, const Sample& thread) {
  return {std::int64_t{0},
          std::string("thread"),
          TextOf(thread, "thread"),
          TextOf(thread, "state"),
          std::int64_t{0},
          NumberOf(thread, "age"),
          FunctionsText(whereabouts.profile, thread.stack),
          std::string(),
          std::string(),
          std::string(),
          NumberOf(thread, "goroutine"),
          std::string(),
          std::string()};
}

std::vector<Cell> RowOf(const Whereabouts& whereabouts, const TaskInfo& info) {
  const Where& where = Get(whereabouts.of_task, static_cast<std::int64_t>(info.id));
  std::string state = info.state;
  if (info.ended) {
    state = "ended, and still holds memory";
  } else if (state.empty()) {
    state = where.state;  // of the thread it is on
  }
  return {info.held_bytes,
          std::string("task"),
          info.name,
          state,
          Seconds(info.state_age_ns),
          Seconds(info.age_ns),
          where.at.empty() ? info.state_at : where.at,
          IdText(static_cast<std::uint32_t>(info.connection)),
          IdText(static_cast<std::uint32_t>(info.parent)),
          LabelText(info.labels),
          static_cast<std::int64_t>(info.id),
          info.function,
          info.file.empty() ? std::string() : Concat(info.file, ":", info.line)};
}

}  // namespace

Response TasksPage(const Request& request, const Query& query) {
  const auto asked = Read(request, query);
  if (!asked) return ErrorReply(400, asked.status().message());
  const auto tasks = SnapshotTasks(asked->limit);
  if (!tasks) return ErrorReply(500, tasks.status().message());
  const Whereabouts whereabouts = FindAll();

  TablePage page;
  page.title = "/debug/tasks";
  page.rows_are = "tasks";
  page.introduction =
      "Tasks of this process, those that hold most heap first, then the oldest; behind them "
      "the threads that work for none. Whole stacks: pprof/goroutine?debug=2.";
  page.columns = {{"held_bytes", true}, {"kind"},        {"name"},     {"state"},
                  {"state_s", true},    {"age_s", true}, {"at"},       {"connection"},
                  {"parent"},           {"labels"},      {"id", true}, {"made_in"},
                  {"made_at"}};
  page.rows_total = CountTasks() + whereabouts.threads.size();
  for (const TaskInfo& info : *tasks) {
    if (!AddRow(&page, RowOf(whereabouts, info))) break;
  }
  for (const std::size_t thread : whereabouts.threads) {
    if (page.rows.size() >= asked->limit) break;
    if (!AddRow(&page, RowOf(whereabouts, whereabouts.profile.samples[thread]))) break;
  }
  return Render(page, asked->format);
}

}  // namespace heldby::http
