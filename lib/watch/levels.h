// watch/levels.h - when memory runs out, how soon, and whether that is worth a dump: arithmetic
// on readings, no more.
//
// Threads  one.   Signals  unsafe.   Allocates  never.
// Units    bytes, nanoseconds of a clock that does not jump.
// Bounds   kMostLimits limits; 64 readings of each are remembered.
// Source   docs/oom.md.
#pragma once

#include <cstdint>
#include <span>

namespace heldby::watch {

enum class LimitKind : std::uint8_t { kCgroup, kAddressSpace, kHost };

/// One limit as it stands. The same limit is always at the same place of the list.
struct Reading {
  LimitKind kind = LimitKind::kCgroup;
  bool valid = false;
  std::int64_t used_bytes = 0;
  std::int64_t limit_bytes = 0;
};

/// In rising order of need.
enum class Level : std::uint8_t { kNone, k80, k90, k95, kSoon };
inline constexpr int kLevels = 5;

/// "80", "90", "95", "soon".
const char* NameOf(Level level);

inline constexpr std::size_t kMostLimits = 18;
inline constexpr std::int64_t kNever = INT64_MAX;

struct Outlook {
  int tightest = -1;  // place in the list; -1: nothing is limited
  std::int64_t growth_bytes_per_second = 0;
  std::int64_t time_to_limit_ns = kNever;  // of the limit that is reached first
  Level level = Level::kNone;              // reached
  Level fire = Level::kNone;               // reached, and to be written now
  std::int64_t next_look_ns = 0;           // from now
};

class Levels {
 public:
  explicit Levels(std::int64_t cooldown_ns) : cooldown_ns_(cooldown_ns) {}

  Outlook Look(std::int64_t now_ns, std::span<const Reading> readings);

  static constexpr std::int64_t kSoonNs = 3'000'000'000;
  /// Below these shares a limit says nothing: what fills the first half of a limit fast is
  /// mostly a start, and hosts are meant to be used.
  static constexpr double kSoonShare = 0.50;
  static constexpr double kHostShare = 0.95;
  static constexpr double kHysteresis = 0.05;

 private:
  struct History {
    std::int64_t at_ns[64];
    std::int64_t used_bytes[64];
    std::uint32_t count = 0;
  };
  struct State {
    bool armed = true;
    bool fired = false;
    std::int64_t fired_ns = 0;
  };

  std::int64_t Growth(std::size_t limit, std::int64_t now_ns, std::int64_t used_bytes);
  static Level Reached(const Reading& reading, std::int64_t time_to_limit_ns);
  void Rearm(std::int64_t now_ns, double share, std::int64_t time_to_limit_ns);
  void Disarm(std::int64_t now_ns, Level fired, double share);
  static std::int64_t NextLook(std::int64_t least_room_bytes, bool grows,
                               std::int64_t time_to_limit_ns);

  const std::int64_t cooldown_ns_;
  History histories_[kMostLimits] = {};
  State states_[kLevels] = {};
};

}  // namespace heldby::watch
