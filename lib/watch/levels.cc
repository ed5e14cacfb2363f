#include "watch/levels.h"

#include <algorithm>

namespace heldby::watch {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMillisecond = 1'000'000;

// Growth is what came in half a second: of one reading to the next it would be the noise of
// an arena that grew, over several seconds it would come too late.
constexpr std::int64_t kWindowNs = 500 * kMillisecond;
constexpr std::int64_t kLeastSpanNs = 5 * kMillisecond;

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
    if (is_host && ShareOf(level) < kHostShare) break;
    if (share >= ShareOf(level)) return level;
  }
  return Level::kNone;
}

// A level that has been written is not written again before it was left for good.
void Levels::Rearm(std::int64_t now_ns, double share, std::int64_t time_to_limit_ns) {
  for (int i = 1; i < kLevels; ++i) {
    State& state = states_[i];
    const auto level = static_cast<Level>(i);
    if (level == Level::kSoon ? time_to_limit_ns > 2 * kSoonNs
                              : share < ShareOf(level) - kHysteresis) {
      state.armed = true;
    }
    if (state.fired && now_ns - state.fired_ns >= cooldown_ns_) state.fired = false;
  }
}

// What one dump says, one of a level that was passed on the way would only repeat.
void Levels::Disarm(std::int64_t now_ns, Level fired, double share) {
  for (int i = 1; i < kLevels; ++i) {
    const auto level = static_cast<Level>(i);
    const bool said = level == Level::kSoon ? fired == Level::kSoon : share >= ShareOf(level);
    if (said) states_[i] = {.armed = false, .fired = true, .fired_ns = now_ns};
  }
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

Outlook Levels::Look(std::int64_t now_ns, std::span<const Reading> readings) {
  Outlook outlook;
  std::int64_t least_room_bytes = kNever;
  std::int64_t first_ns = kNever;
  double tightest_share = -1;
  double share = 0;
  for (std::size_t i = 0; i < std::min(readings.size(), kMostLimits); ++i) {
    const Reading& reading = readings[i];
    if (!reading.valid || reading.limit_bytes <= 0) continue;
    const std::int64_t growth = Growth(i, now_ns, reading.used_bytes);
    const std::int64_t time_to_limit_ns = TimeToLimit(reading, growth);
    const Level level = Reached(reading, time_to_limit_ns);
    least_room_bytes = std::min(least_room_bytes, reading.limit_bytes - reading.used_bytes);
    first_ns = std::min(first_ns, time_to_limit_ns);
    // A host counts where it is full, and not before.
    const double own_share = ShareOf(reading);
    if (reading.kind != LimitKind::kHost || level != Level::kNone)
      share = std::max(share, own_share);
    const bool is_tighter = outlook.tightest < 0 || level > outlook.level ||
                            (level == outlook.level && own_share > tightest_share);
    if (!is_tighter) continue;
    tightest_share = own_share;
    outlook.tightest = static_cast<int>(i);
    outlook.level = level;
    outlook.growth_bytes_per_second = growth;
  }
  outlook.time_to_limit_ns = first_ns;
  if (outlook.tightest < 0) {
    outlook.next_look_ns = kSecond;
    return outlook;
  }
  Rearm(now_ns, share, first_ns);
  for (int i = 1; i < kLevels; ++i) {
    const auto level = static_cast<Level>(i);
    const bool reached =
        level == Level::kSoon ? outlook.level == Level::kSoon : share >= ShareOf(level);
    if (reached && states_[i].armed && !states_[i].fired) outlook.fire = level;
  }
  if (outlook.fire != Level::kNone) Disarm(now_ns, outlook.fire, share);
  outlook.next_look_ns = NextLook(least_room_bytes, first_ns != kNever, first_ns);
  return outlook;
}

}  // namespace heldby::watch
