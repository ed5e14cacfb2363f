#include "heldby/custom_profile.h"

#include <pthread.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "collect/counted.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "runtime/core_access.h"

namespace heldby {

struct CustomProfileState {
  std::string name;
  std::mutex mutex;
  std::unordered_map<const void*, std::uint32_t> stack_of;
  std::int64_t left_out = 0;  // for want of room
};

namespace {

constexpr std::size_t kMaxEntries = 100'000;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::string_view kTaken[] = {"allocs",    "block", "cmdline",     "connections",
                                       "goroutine", "heap",  "mutex",       "profile",
                                       "symbol",    "trace", "threadcreate"};

struct Table {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<CustomProfileState>, std::less<>> profiles;
};

// Never destroyed, nor what is in it: objects of the program's may add and remove in their
// destructors, after ours.
Table& All() {
  static auto* const all = new Table;
  return *all;
}

// A child must not inherit a lock that a thread of the parent's held. In the order in which
// SnapshotCustomProfile() takes them.
void LockAll() {
  All().mutex.lock();
  for (const auto& [name, state] : All().profiles) state->mutex.lock();
}
void UnlockAll() {
  for (const auto& [name, state] : All().profiles) state->mutex.unlock();
  All().mutex.unlock();
}

bool IsGoodName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '.';
  });
}

CustomProfileState* Find(std::string_view name) {
  const std::lock_guard lock(All().mutex);
  const auto found = All().profiles.find(name);
  return found == All().profiles.end() ? nullptr : found->second.get();
}

}  // namespace

Result<CustomProfile> CustomProfile::Create(std::string_view name) {
  UnsampledScope unsampled;
  if (!IsGoodName(name)) {
    return Status(StatusCode::kInvalidArgument,
                  "profile name is \"" + std::string(name) +
                      "\"; accepted: 1 to 64 letters, digits and any of _ .");
  }
  static std::once_flag once;
  std::call_once(once, [] { ::pthread_atfork(&LockAll, &UnlockAll, &UnlockAll); });
  const std::lock_guard lock(All().mutex);
  auto state = std::make_unique<CustomProfileState>();
  state->name = name;
  const bool is_taken = std::ranges::find(kTaken, name) != std::end(kTaken);
  const auto [place, is_new] = All().profiles.try_emplace(std::string(name));
  if (is_taken || !is_new) {
    if (is_taken) All().profiles.erase(place);
    return Status(StatusCode::kFailedPrecondition,
                  "profile name is \"" + std::string(name) + "\", which exists already");
  }
  place->second = std::move(state);
  return CustomProfile(place->second.get());
}

bool CustomProfile::Add(const void* key) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  const std::uint32_t stack =
      core == nullptr ? 0
                      : core->threads->intern_stack(
                            reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  try {
    const std::lock_guard lock(state_->mutex);
    if (state_->stack_of.size() >= kMaxEntries) {
      ++state_->left_out;
      return false;
    }
    return state_->stack_of.emplace(key, stack).second;
  } catch (const std::exception&) {  // bad_alloc
    return false;
  }
}

bool CustomProfile::Remove(const void* key) {
  UnsampledScope unsampled;
  const std::lock_guard lock(state_->mutex);
  return state_->stack_of.erase(key) != 0;
}

std::size_t CustomProfile::Count() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stack_of.size();
}

const std::string& CustomProfile::name() const { return state_->name; }

Result<Profile> SnapshotCustomProfile(std::string_view name) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  CustomProfileState* state = Find(name);
  if (state == nullptr) {
    return Status(StatusCode::kNotFound, "no profile is named " + std::string(name));
  }
  try {
    std::map<std::uint32_t, std::int64_t> counts;
    std::int64_t left_out = 0;
    {
      const std::lock_guard lock(state->mutex);
      for (const auto& [key, stack] : state->stack_of) ++counts[stack];
      left_out = state->left_out;
    }
    Profile profile =
        collect::CollectCounted(*core, state->name, {counts.begin(), counts.end()});
    if (left_out != 0) {
      profile.comments.push_back("heldby: " + std::to_string(left_out) +
                                 " calls of Add() left out: 100000 entries are in it");
    }
    SymbolizeProfile(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  "cannot build profile " + state->name + ": " + error.what());
  }
}

std::size_t CountCustomProfile(std::string_view name) {
  CustomProfileState* state = Find(name);
  if (state == nullptr) return 0;
  const std::lock_guard lock(state->mutex);
  return state->stack_of.size();
}

std::vector<std::string> CustomProfileNames() {
  UnsampledScope unsampled;
  const std::lock_guard lock(All().mutex);
  std::vector<std::string> names;
  for (const auto& [name, state] : All().profiles) names.push_back(name);
  return names;
}

}  // namespace heldby
