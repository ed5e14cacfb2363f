#include "heldby/leftovers.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "collect/leftovers.h"
#include "core/base/clock.h"
#include "heldby/heap.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/flat_hash.h"
#include "profile/glob.h"
#include "profile/simplify.h"
#include "profile/text.h"
#include "profile/trim.h"
#include "runtime/core_access.h"

namespace heldby {

namespace {

// Ends in a child that was forked meanwhile, too: it has its own copy of what is counted there.
class KeepsTaskStacks {
 public:
  explicit KeepsTaskStacks(const core::RegistryApi& registry) : registry_(registry) {
    registry_.keep_task_stacks(true);
  }
  KeepsTaskStacks(const KeepsTaskStacks&) = delete;
  KeepsTaskStacks& operator=(const KeepsTaskStacks&) = delete;
  ~KeepsTaskStacks() { registry_.keep_task_stacks(false); }

 private:
  const core::RegistryApi& registry_;
};

}  // namespace

struct Checkpoint::State {
  explicit State(const core::CoreApi& of) : core(of) {}

  const core::CoreApi& core;
  const pid_t process = getpid();
  const core::Counters counters = core.read_counters();
  // Before the baseline: it may find no memory.
  const KeepsTaskStacks keeps_task_stacks{*core.registry};
  const collect::Baseline baseline = collect::TakeBaseline(*core.registry);
};

namespace {

bool Matches(const std::vector<Glob>& globs, std::string_view text) {
  return std::ranges::any_of(globs,
                             [text](const Glob& glob) { return MatchesGlob(glob, text); });
}
bool MatchesFunction(const std::vector<Glob>& globs, const StackFrame& frame) {
  return !globs.empty() && (Matches(globs, frame.function) ||
                            Matches(globs, SimplifyFunctionName(frame.function)));
}

std::vector<StackFrame> FramesOf(const Profile& profile, const Sample& sample) {
  std::vector<StackFrame> frames;
  for (const LocationId id : sample.stack) {
    const Location& location = profile.locations[static_cast<std::size_t>(id) - 1];
    for (const Line& line : location.lines) {
      const Function& function = profile.functions[static_cast<std::size_t>(line.function) - 1];
      frames.push_back(
          {.function = function.name, .file = function.filename, .line = line.line});
    }
    if (location.lines.empty()) {
      frames.push_back({.function = absl::StrFormat("0x%x", location.address)});
    }
  }
  return frames;
}

// From the root inwards up to the first such function, and those that it directly calls. False:
// there is none, or nothing within.
bool CutRoot(std::vector<StackFrame>* frames, const std::vector<Glob>& root_functions) {
  const auto is_root = [&](const StackFrame& frame) {
    return MatchesFunction(root_functions, frame);
  };
  const auto outermost = std::find_if(frames->rbegin(), frames->rend(), is_root);
  if (outermost == frames->rend()) return false;
  const auto kept = std::find_if_not(outermost, frames->rend(), is_root);
  if (kept == frames->rend()) return false;
  frames->erase(kept.base(), frames->end());
  return true;
}

// glibc keeps the stacks of threads that have ended, and what it allocated for them.
bool IsOfThreadsStorage(const std::vector<StackFrame>& stack) {
  return std::ranges::any_of(stack, [](const StackFrame& frame) {
    return frame.function == "_dl_allocate_tls" || frame.function == "__tls_get_addr";
  });
}

bool IsIgnored(const Leftover& item, const LeftoverOptions& options) {
  const auto is_ignored_frame = [&](const StackFrame& frame) {
    return MatchesFunction(options.ignore_functions, frame);
  };
  const auto is_ignored_label = [&](const std::pair<std::string, std::string>& label) {
    return Matches(options.ignore_labels, absl::StrCat(label.first, "=", label.second));
  };
  return Matches(options.ignore_names, item.name) ||
         std::ranges::any_of(item.labels, is_ignored_label) ||
         std::ranges::any_of(item.stack, is_ignored_frame) ||
         std::ranges::any_of(item.waits_in, is_ignored_frame);
}

// All but how much it is.
struct Looks {
  const Leftover* of;

  bool operator==(const Looks& other) const {
    const Leftover& a = *of;
    const Leftover& b = *other.of;
    return std::tie(a.kind, a.name, a.state, a.labels, a.stack, a.waits_in) ==
           std::tie(b.kind, b.name, b.state, b.labels, b.stack, b.waits_in);
  }
  template <typename H>
  friend H AbslHashValue(H h, const Looks& looks) {
    const Leftover& item = *looks.of;
    h = H::combine(std::move(h), item.kind, item.name, item.state, item.labels);
    for (const StackFrame& frame : item.stack) {
      h = H::combine(std::move(h), frame.function, frame.line);
    }
    return h;
  }
};

std::vector<Leftover> Merged(const std::vector<Leftover>& items) {
  std::vector<Leftover> merged;
  FlatHashMap<Looks, std::size_t> place_of;
  for (const Leftover& item : items) {
    const auto [place, is_new] = place_of.try_emplace({&item}, merged.size());
    if (is_new) {
      merged.push_back(item);
    } else {
      merged[place->second].count += item.count;
      merged[place->second].bytes += item.bytes;
    }
  }
  std::ranges::stable_sort(merged, [](const Leftover& a, const Leftover& b) {
    return std::make_tuple(a.kind, -a.bytes, -a.count) <
           std::make_tuple(b.kind, -b.bytes, -b.count);
  });
  return merged;
}

enum class Stacks { kLeaveOut, kName };

// Names take long, the first time above all: a second for a large program.
std::vector<Leftover> Described(const core::CoreApi& core, const collect::Newcomers& newcomers,
                                const LeftoverOptions& options, Stacks stacks) {
  collect::Descriptions found = collect::Describe(core, newcomers);
  if (stacks == Stacks::kName) {
    SymbolizeProfile(&found.stacks);
    TrimAllocationFrames(&found.stacks);
  }
  std::vector<Leftover> items;
  for (collect::Described& item : found.items) {
    Leftover& leftover = item.leftover;
    if (stacks == Stacks::kName) {
      leftover.stack = FramesOf(found.stacks, found.stacks.samples[item.stack]);
      const bool is_within = CutRoot(&leftover.stack, options.root_functions);
      const bool is_roots_own =
          is_within && MatchesFunction(options.root_functions, leftover.stack.front());
      if (leftover.kind == LeftoverKind::kBytes &&
          (is_roots_own || IsOfThreadsStorage(leftover.stack))) {
        continue;
      }
    }
    if (stacks == Stacks::kName && item.waits_in != SIZE_MAX) {
      leftover.waits_in = FramesOf(found.stacks, found.stacks.samples[item.waits_in]);
    }
    if (!IsIgnored(leftover, options)) items.push_back(std::move(leftover));
  }
  return items;
}

void KeepThoseIn(const collect::Newcomers& now, collect::Newcomers* found) {
  const auto keep = [](const auto& present, auto* all, const auto& key_of) {
    FlatHashSet<decltype(key_of(all->front()))> keys;
    for (const auto& item : present) keys.insert(key_of(item));
    std::erase_if(*all, [&](const auto& item) { return !keys.contains(key_of(item)); });
  };
  const auto born = [](const auto& view) { return collect::Born(view.id, view.born_ns); };
  keep(now.connections, &found->connections, born);
  keep(now.tasks, &found->tasks, born);
  keep(now.bytes, &found->bytes, [](const collect::NewBytes& bytes) {
    return std::make_tuple(bytes.site, bytes.connection, bytes.task);
  });
}

void Pause(std::uint64_t ns) {
  const timespec pause{static_cast<time_t>(ns / 1'000'000'000),
                       static_cast<long>(ns % 1'000'000'000)};
  nanosleep(&pause, nullptr);
}

// Looks until nothing is there or the time is up. What goes while names are found is no
// leftover either.
std::vector<Leftover> Look(const Checkpoint::State& before, const LeftoverOptions& options) {
  constexpr std::uint64_t kMostPauseNs = 100'000'000;
  // From then on it pays to know whose bytes those are, for they may be nobody's.
  constexpr std::uint64_t kNamedAfterNs = 100'000'000;
  const std::uint64_t start_ns = core::NowNs();
  const auto wait_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(options.wait_ns, 0));
  const auto find = [&] {
    return collect::FindNewcomers(before.core, before.baseline, options);
  };
  const auto describe = [&](const collect::Newcomers& found, Stacks stacks) {
    return Described(before.core, found, options, stacks);
  };
  collect::Newcomers found = find();
  for (std::uint64_t pause_ns = 1'000'000;; pause_ns = std::min(2 * pause_ns, kMostPauseNs)) {
    const std::uint64_t waited_ns = core::NowNs() - start_ns;
    const bool needs_names = !options.ignore_functions.empty() ||
                             (!found.bytes.empty() && waited_ns >= kNamedAfterNs);
    const Stacks stacks = needs_names ? Stacks::kName : Stacks::kLeaveOut;
    if (found.empty() || describe(found, stacks).empty()) return {};
    if (waited_ns >= wait_ns) break;
    Pause(std::min(pause_ns, wait_ns - waited_ns));
    found = find();
  }
  (void)describe(found, Stacks::kName);
  KeepThoseIn(find(), &found);
  return found.empty() ? std::vector<Leftover>() : Merged(describe(found, Stacks::kName));
}

std::vector<std::string> UnseenBytes(std::int64_t sample_bytes) {
  const HeapHooks hooks = DescribeHeapHooks();
  if (!hooks.active) return {absl::StrCat("labelled bytes are not seen: ", hooks.reason)};
  if (sample_bytes == 0) return {"labelled bytes are not seen: heap sampling is off"};
  if (sample_bytes == 1) return {};
  return {absl::StrCat("labelled bytes are sampled, one in ", sample_bytes,
                       ": a few may be left behind unseen (HELDBY_SAMPLE_BYTES=1 sees all)")};
}

std::vector<std::string> Dropped(const core::Counters& then, const core::Counters& now,
                                 const LeftoverOptions& options) {
  const std::tuple<bool, std::uint64_t, const char*> drops[] = {
      {options.connections, now.dropped_connections_total - then.dropped_connections_total,
       "connections were not recorded: table full"},
      {options.tasks, now.dropped_tasks_total - then.dropped_tasks_total,
       "tasks were not recorded: table full"},
      {options.labelled_bytes, now.dropped_samples_total - then.dropped_samples_total,
       "samples were dropped: table of live samples full"},
      {options.labelled_bytes, now.dropped_sites_total - then.dropped_sites_total,
       "samples have no site: table of sites full"},
      {options.labelled_bytes, now.untracked_samples_total - then.untracked_samples_total,
       "blocks could not be placed where they are seen"},
  };
  std::vector<std::string> unseen;
  for (const auto& [wanted, count, what] : drops) {
    if (wanted && count != 0) unseen.push_back(absl::StrCat(count, " ", what));
  }
  return unseen;
}

constexpr char kNoCore[] = "the core is missing or of another version";

}  // namespace

Checkpoint::Checkpoint() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return;
  try {
    state_ = std::make_shared<const State>(*core);
  } catch (const std::exception&) {
    // LeftoversSince() says so.
  }
}

Result<Leftovers> LeftoversSince(const Checkpoint& checkpoint, const LeftoverOptions& options) {
  UnsampledScope unsampled;
  if (runtime::Core() == nullptr) return Status(StatusCode::kUnavailable, kNoCore);
  const Checkpoint::State* before = checkpoint.state();
  if (before == nullptr) {
    return Status(StatusCode::kResourceExhausted, "the checkpoint found no memory");
  }
  if (before->process != getpid()) {
    return Status(StatusCode::kFailedPrecondition,
                  "the checkpoint is another process's: this one was forked since");
  }
  try {
    Leftovers found{.items = Look(*before, options), .unseen = UnseenLeftovers(options)};
    for (std::string& drop : Dropped(before->counters, before->core.read_counters(), options)) {
      found.unseen.push_back(std::move(drop));
    }
    return found;
  } catch (const std::exception& error) {
    return Status(StatusCode::kResourceExhausted,
                  absl::StrCat("cannot list what is left: ", error.what()));
  }
}

std::vector<std::string> UnseenLeftovers(const LeftoverOptions& options) {
  UnsampledScope unsampled;
  if (runtime::Core() == nullptr) return {kNoCore};
  if (!options.labelled_bytes) return {};
  return UnseenBytes(HeapSampleBytes());
}

}  // namespace heldby
