// symbolize/symbolizer.h - turns addresses into mappings, functions, lines.
//
// Threads  any. One mutex guards the module list and the cache; it is held neither while files
//          are read nor while the child works, and no user code runs in here.
// Signals  unsafe: reads files, allocates, starts a process.
// Self     the caller opens an UnsampledScope around it.
// Bounds   Options::cache_bytes kept between calls; a call adds what its own profile needs.
// Progress a call ends within Options::timeout_ms plus the time to read symbol tables; a helper
//          that fails costs that once in Options::rest_ms, not at every call.
// Source   docs/symbols.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heldby/profile.h"

namespace heldby::symbolize {

class Symbolizer {
 public:
  struct Options {
    /// Read DWARF for file:line and inlined calls. If false: names only, no child.
    bool lines = true;
    /// The program that reads DWARF; empty: `heldby-symbolizer` beside the object (or the
    /// executable) that this code is in, or in a lib/ next to that.
    std::string helper_path;
    /// For one run of the helper; past it, it is killed and the rest gets names only.
    int timeout_ms = 10'000;
    /// After a failure the helper rests so long, and what the cache has no lines of gets names
    /// only; twice as long after the next failure in a row, up to `max_rest_ms`.
    int rest_ms = 5 * 60'000;
    int max_rest_ms = 60 * 60'000;
    std::size_t cache_bytes = 24 << 20;
  };

  /// Monotonic, except cache_bytes.
  struct Stats {
    std::uint64_t addresses_total = 0;  // asked for
    std::uint64_t cached_total = 0;     // of them, answered from the cache
    std::uint64_t unnamed_total = 0;    // of them, named by place only
    std::uint64_t outside_total = 0;    // of them, in no module
    std::uint64_t helper_runs_total = 0;
    std::uint64_t helper_failures_total = 0;  // missing, died, or out of time
    std::uint64_t helper_rests_total = 0;     // calls answered without it after a failure
    std::uint64_t cache_bytes = 0;
  };

  Symbolizer();
  explicit Symbolizer(Options options);
  ~Symbolizer();
  Symbolizer(const Symbolizer&) = delete;
  Symbolizer& operator=(const Symbolizer&) = delete;

  /// Gives each location without a mapping its mapping, and lines to those that have none.
  /// Afterwards mappings[0] is the main binary, every location has a mapping that contains it,
  /// equal locations are one, and samples that became equal are added up. Mappings and lines
  /// that came with the profile (synthetic frames) stay. On lack of memory the profile keeps
  /// what it has. Does not throw.
  void Symbolize(Profile* profile) noexcept;

  /// The linker's name of the function at a run-time address; empty: none.
  [[nodiscard]] std::string NameOf(std::uint64_t address) noexcept;

  /// As NameOf(), with one pass over each symbol table for all of them.
  [[nodiscard]] std::vector<std::string> NamesOf(
      std::span<const std::uint64_t> addresses) noexcept;

  /// Notes what is loaded now, so that stacks through a module unloaded later keep its name.
  void NoteModules() noexcept;

  [[nodiscard]] Stats stats() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace heldby::symbolize
