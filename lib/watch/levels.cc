#include "watch/levels.h"

#include <algorithm>
#include <tuple>

namespace heldby::watch {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;

// Growth is what came in half a second: of one reading to the next it would be the noise of
// an arena that grew, over several seconds it would come too late.
constexpr std::int64_t kWindowNs = 500 * kMillisecond;
constexpr std::int64_t kLeastSpanNs = 5 * kMillisecond;

bool IsUsable(const Reading& reading) { return reading.valid && reading.limit_bytes > 0; }

double ShareOf(const Reading& reading) {
  return static_cast<double>(reading.used_bytes) / static_cast<double>(reading.limit_bytes);
}

double ShareOf(Level level) {
  switch (level) {
    case Level::k80:
      return 0.80;
    case Level::k90:
      return 0.90;
    case Level::k95:
      return 0.95;
    case Level::kNone:
    case Level::kSoon:
      break;
  }
  return 0;
}

// A host counts where it is full, and not before.
bool IsPassed(const Reading& reading, Level level) {
  const double share = ShareOf(level);
  return ShareOf(reading) >= share &&
         (reading.kind != LimitKind::kHost || share >= Levels::kHostShare);
}

std::int64_t TimeToLimit(const Reading& reading, std::int64_t growth_bytes_per_second) {
  if (growth_bytes_per_second <= 0) return kNever;
  const double room = static_cast<double>(reading.limit_bytes - reading.used_bytes);
  const double seconds = std::max(room, 0.0) / static_cast<double>(growth_bytes_per_second);
  return seconds > 1e9 ? kNever : static_cast<std::int64_t>(seconds * 1e9);
}

}  // namespace

const char* NameOf(Level level) {
  switch (level) {
    case Level::k80:
      return "80";
    case Level::k90:
      return "90";
    case Level::k95:
      return "95";
    case Level::kSoon:
      return "soon";
    case Level::kNone:
      break;
  }
  return "none";
}

std::int64_t Levels::Growth(std::size_t limit, std::int64_t now_ns, std::int64_t used_bytes) {
  constexpr std::uint32_t kPlaces = 64;
  History& history = histories_[limit];
  // The oldest of the window; the last one, if that is older still.
  std::int64_t growth = 0;
  for (std::uint32_t back = 1; back <= std::min(history.count, kPlaces); ++back) {
    const std::uint32_t place = (history.count - back) % kPlaces;
    const std::int64_t span_ns = now_ns - history.at_ns[place];
    if (back > 1 && span_ns > kWindowNs) break;
    if (span_ns < kLeastSpanNs) continue;
    growth =
        static_cast<std::int64_t>(static_cast<double>(used_bytes - history.used_bytes[place]) *
                                  1e9 / static_cast<double>(span_ns));
  }
  const std::uint32_t next = history.count % kPlaces;
  history.at_ns[next] = now_ns;
  history.used_bytes[next] = used_bytes;
  // Never back to 0, where nothing would be known.
  history.count = history.count + 1 >= 1u << 30 ? kPlaces + next + 1 : history.count + 1;
  return growth;
}

Level Levels::Reached(const Reading& reading, std::int64_t time_to_limit_ns) {
  const double share = ShareOf(reading);
  const bool is_host = reading.kind == LimitKind::kHost;
  if (time_to_limit_ns < kSoonNs && share >= (is_host ? kHostShare - kHysteresis : kSoonShare))
    return Level::kSoon;
  for (const Level level : {Level::k95, Level::k90, Level::k80}) {
    if (IsPassed(reading, level)) return level;
  }
  return Level::kNone;
}

// A level that has been written is not written again before it was left for good.
void Levels::Rearm(std::size_t limit, const Reading& reading, std::int64_t time_to_limit_ns) {
  Armed& armed = armed_[limit];
  // What was left to others is ours now.
  const bool is_ours_now = armed.was_of_others && !reading.is_of_others;
  armed.was_of_others = reading.is_of_others;
  for (int i = 1; i < kLevels; ++i) {
    const auto level = static_cast<Level>(i);
    const bool is_left = level == Level::kSoon
                             ? time_to_limit_ns > 2 * kSoonNs
                             : ShareOf(reading) < ShareOf(level) - kHysteresis;
    if (is_left || is_ours_now) armed.levels[i] = true;
  }
}

Level Levels::ToFire(std::size_t limit, const Reading& reading, Level reached) const {
  Level fire = Level::kNone;
  if (reached == Level::kNone) return fire;
  for (int i = 1; i < kLevels; ++i) {
    const auto level = static_cast<Level>(i);
    const bool is_reached =
        level == Level::kSoon ? reached == Level::kSoon : IsPassed(reading, level);
    // What others use is not to silence what this process does later.
    const bool is_recent = fired_[i].is_recent && !reading.is_of_others;
    if (is_reached && armed_[limit].levels[i] && !is_recent) fire = level;
  }
  return fire;
}

// What one dump says, one of a level that was passed on the way would only repeat.
void Levels::Disarm(std::int64_t now_ns, const Outlook& outlook,
                    std::span<const Reading> readings) {
  const bool is_of_others = readings[static_cast<std::size_t>(outlook.tightest)].is_of_others;
  for (std::size_t limit = 0; limit < readings.size(); ++limit) {
    const Reading& reading = readings[limit];
    if (!IsUsable(reading) || reading.is_of_others != is_of_others) continue;
    for (int i = 1; i < kLevels; ++i) {
      const auto level = static_cast<Level>(i);
      const bool is_said = level == Level::kSoon ? outlook.fire == Level::kSoon
                                                 : ShareOf(reading) >= ShareOf(level);
      if (!is_said) continue;
      armed_[limit].levels[i] = false;
      if (!is_of_others && static_cast<int>(limit) == outlook.tightest) {
        fired_[i] = {.is_recent = true, .at_ns = now_ns};
      }
    }
  }
}

void Levels::NotWritten() {
  constexpr std::int64_t kLeastPauseNs = 60 * kSecond;
  const int level = static_cast<int>(last_level_);
  armed_[last_limit_].levels[level] = true;
  fired_[level].at_ns += std::max<std::int64_t>(kLeastPauseNs - cooldown_ns_, 0);
}

std::int64_t Levels::NextLook(std::int64_t least_room_bytes, bool grows,
                              std::int64_t time_to_limit_ns) {
  // Before the room there is could be gone at a speed that no allocating loop exceeds by much.
  constexpr double kFastestBytesPerSecond = 4e9;
  const std::int64_t least = (grows ? 10 : 50) * kMillisecond;
  const double in_seconds =
      static_cast<double>(std::max<std::int64_t>(least_room_bytes, 0)) / kFastestBytesPerSecond;
  auto next = static_cast<std::int64_t>(std::min(in_seconds, 1.0) * 1e9);
  if (time_to_limit_ns < 10 * kSecond) next = std::min(next, 50 * kMillisecond);
  return std::clamp(next, least, kSecond);
}

Outlook Levels::Look(std::int64_t now_ns, std::span<const Reading> all) {
  const auto readings = all.first(std::min(all.size(), kMostLimits));
  Outlook outlook;
  std::int64_t least_room_bytes = kNever;
  std::tuple<bool, Level, Level, double> most_needed;
  for (Fired& fired : fired_) {
    if (fired.is_recent && now_ns - fired.at_ns >= cooldown_ns_) fired.is_recent = false;
  }
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const Reading& reading = readings[i];
    if (!IsUsable(reading)) continue;
    const std::int64_t growth = Growth(i, now_ns, reading.used_bytes);
    const std::int64_t time_to_limit_ns = TimeToLimit(reading, growth);
    const Level level = Reached(reading, time_to_limit_ns);
    least_room_bytes = std::min(least_room_bytes, reading.limit_bytes - reading.used_bytes);
    outlook.time_to_limit_ns = std::min(outlook.time_to_limit_ns, time_to_limit_ns);
    Rearm(i, reading, time_to_limit_ns);
    const Level fire = ToFire(i, reading, level);
    // The one that is to be written about is the one that is named.
    const auto need = std::tuple(!reading.is_of_others && fire != Level::kNone, fire, level,
                                 ShareOf(reading));
    if (outlook.tightest >= 0 && need <= most_needed) continue;
    most_needed = need;
    outlook.tightest = static_cast<int>(i);
    outlook.level = level;
    outlook.fire = fire;
    outlook.growth_bytes_per_second = growth;
  }
  if (outlook.tightest < 0) {
    outlook.next_look_ns = kSecond;
    return outlook;
  }
  if (outlook.fire != Level::kNone) Disarm(now_ns, outlook, readings);
  last_limit_ = outlook.tightest;
  last_level_ = outlook.fire;
  const std::int64_t first_ns = outlook.time_to_limit_ns;
  // A few pages more or less are what every machine does all the time.
  outlook.next_look_ns = NextLook(least_room_bytes, first_ns < 60 * kSecond, first_ns);
  return outlook;
}

}  // namespace heldby::watch
