// leaks/schedule.h - which snapshots of the past to keep: close together lately, wide apart
// long ago.
//
// Threads  values.   Units  nanoseconds.
// Bounds   with the default: 60 of the last ten minutes, 50 of the last hour, 47 of the last
//          two days, 12 of the last two weeks.
// Source   docs/leaks.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace heldby::leaks {

inline constexpr std::int64_t kSecondNs = 1'000'000'000;

/// What is younger than `age_ns` is kept `spacing_ns` apart.
struct Band {
  std::int64_t age_ns;
  std::int64_t spacing_ns;
};

/// Bands for a shortest window of `window_ns`: ten minutes of it in sixtieths, and from there
/// on as ten minutes are to an hour, two days and two weeks. By hand: ten minutes give 10 s
/// within 10 min, 1 min within 1 h, 1 h within 2 d, 1 d within 14 d.
[[nodiscard]] std::vector<Band> BandsFor(std::int64_t window_ns);

/// The spacing at that age; nothing: too old to be kept.
[[nodiscard]] std::optional<std::int64_t> SpacingAt(const std::vector<Band>& bands,
                                                    std::int64_t age_ns);

/// Of the snapshots taken at `times_ns`, oldest first: the one that may go, as those around it
/// are no further apart than what its age asks for. Never the last one; the first one when it
/// is too old.
[[nodiscard]] std::optional<std::size_t> OneTooMany(const std::vector<std::int64_t>& times_ns,
                                                    const std::vector<Band>& bands,
                                                    std::int64_t now_ns);

/// When one has to go whatever the bands say, for want of room: the one whose absence makes the
/// narrowest gap for its age. REQUIRES: three at least.
[[nodiscard]] std::size_t LeastMissed(const std::vector<std::int64_t>& times_ns,
                                      std::int64_t now_ns);

}  // namespace heldby::leaks
