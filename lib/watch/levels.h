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
  bool is_of_others = false;  // next to nothing of what is used is this process's
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

  /// Nothing was written of what the last Look() asked for: the level is asked for again, after
  /// its cool-down, or a minute.
  void NotWritten();

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
  // Of one limit: another that is near for good must not hide this one.
  struct Armed {
    bool levels[kLevels] = {true, true, true, true, true};
    bool was_of_others = false;
  };
  // Of the process: two limits that are reached together are one dump.
  struct Fired {
    bool is_recent = false;
    std::int64_t at_ns = 0;
  };

  std::int64_t Growth(std::size_t limit, std::int64_t now_ns, std::int64_t used_bytes);
  static Level Reached(const Reading& reading, std::int64_t time_to_limit_ns);
  void Rearm(std::size_t limit, const Reading& reading, std::int64_t time_to_limit_ns);
  Level ToFire(std::size_t limit, const Reading& reading, Level reached) const;
  void Disarm(std::int64_t now_ns, const Outlook& outlook, std::span<const Reading> readings);
  static std::int64_t NextLook(std::int64_t least_room_bytes, bool grows,
                               std::int64_t time_to_limit_ns);

  const std::int64_t cooldown_ns_;
  History histories_[kMostLimits] = {};
  Armed armed_[kMostLimits] = {};
  Fired fired_[kLevels] = {};
  int last_limit_ = 0;  // and level that were to be written
  Level last_level_ = Level::kNone;
};

}  // namespace heldby::watch
