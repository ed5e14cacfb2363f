#include "heldby/goroutine.h"

#include <algorithm>
#include <exception>
#include <map>
#include <string>

#include "collect/counted.h"
#include "collect/goroutines.h"
#include "collect/threads.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/trim.h"
#include "profile/wait_reason.h"
#include "runtime/core_access.h"

namespace heldby {
namespace {

Status Unavailable() {
  return {StatusCode::kUnavailable, "the core is missing or of another version"};
}

std::int64_t NumberOf(const Sample& sample) {
  const auto label = std::ranges::find(sample.labels, "goroutine", &Label::key);
  return label == sample.labels.end() ? 0 : label->number;
}

// "std::thread" is what every program calls: who called that is what one wants to know.
Profile ThreadCreation(const core::CoreApi& core, bool each) {
  Profile profile = collect::CollectThreadCreation(core, each);
  SymbolizeProfile(&profile);
  TrimAllocationFrames(&profile);
  return profile;
}

// As the goroutine profile has it of tasks: "function\nfile:line".
void NameCreators(const core::CoreApi& core, Profile* profile) {
  const Profile creation = ThreadCreation(core, /*each=*/true);
  std::map<std::int64_t, std::string> creators;
  for (const Sample& sample : creation.samples) {
    if (sample.stack.empty()) continue;
    const Location& top = creation.locations[static_cast<std::size_t>(sample.stack[0]) - 1];
    if (top.lines.empty() || top.address < 4 * 4096) continue;  // a synthetic frame
    const Line& line = top.lines.front();
    const auto& function = creation.functions[static_cast<std::size_t>(line.function) - 1];
    const std::string file = function.filename.empty() ? "?" : function.filename;
    creators[NumberOf(sample)] = function.name + "\n" + file + ":" + std::to_string(line.line);
  }
  for (Sample& sample : profile->samples) {
    const auto creator = creators.find(NumberOf(sample));
    const bool is_thread =
        std::ranges::find(sample.labels, "thread", &Label::key) != sample.labels.end();
    if (!is_thread || creator == creators.end()) continue;
    sample.labels.push_back({.key = "created_by", .text = creator->second});
  }
}

}  // namespace

Result<Profile> SnapshotThreadCreation() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return Unavailable();
  try {
    return ThreadCreation(*core, /*each=*/false);
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the thread creation profile: ") + error.what());
  }
}

std::size_t CountThreads() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  return core == nullptr ? 0 : collect::CountThreads(*core);
}

Result<Profile> SnapshotGoroutines(const GoroutineOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) return Unavailable();
  try {
    Profile profile = collect::CollectGoroutines(*core, options);
    SymbolizeProfile(&profile);
    NameFutexWaits(&profile);
    if (options.each) NameCreators(*core, &profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the goroutine profile: ") + error.what());
  }
}

std::size_t CountGoroutines() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  return core == nullptr ? 0 : collect::CountGoroutines(*core);
}

}  // namespace heldby
