// exporters/pprof/legacy_parts.h - what the parsers of the older formats share.
//
// Threads  one at a time.
// Signals  unsafe: allocates.
// Units    lines are counted from 1, bytes from 0.
// Bounds   Budget: 512 MiB for the result and all that is needed on the way to it.
// Source   docs/formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/profile.h"
#include "heldby/status.h"

namespace heldby::legacy {

/// What may still be allocated for one profile, by estimates that rather say too much. A line
/// of four bytes becomes a record of hundreds, so a bound on the input alone would not do.
class Budget {
 public:
  /// False, and nothing taken, if it is more than what is left.
  [[nodiscard]] bool Take(std::size_t bytes);

  /// For all lines of a text, records and mappings alike, with the addresses in them; not for
  /// the locations these become, as the same address is often in thousands of stacks.
  [[nodiscard]] bool TakeText(std::string_view text);

  /// For a record, and the sample it becomes.
  [[nodiscard]] bool TakeRecord(std::size_t depth);

  /// For one more entry of the location table.
  [[nodiscard]] bool TakeLocation();

  /// kResourceExhausted.
  static Status Exceeded();

 private:
  std::size_t left_bytes_ = std::size_t{512} << 20;
};

/// Walks over text line by line; lines come without white space around them.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  /// False at the end of the text.
  bool Next();

  std::string_view line() const { return line_; }
  std::string_view rest() const { return rest_; }

  /// kDataLoss, "line 12: " and the parts.
  template <typename... Parts>
  Status Bad(const Parts&... parts) const;

 private:
  Status BadLine(std::string_view message) const;

  std::string_view rest_;
  std::string_view line_;
  std::size_t number_ = 0;
};

/// Takes tokens off the front of one line; blanks before a token do not matter.
class Cursor {
 public:
  explicit Cursor(std::string_view line) : rest_(line) {}

  bool Take(std::string_view token);
  /// Decimal, perhaps negative. False if there is none or it does not fit.
  bool TakeInt(std::int64_t* value);
  /// Without 0x; at most 16 digits.
  bool TakeHex(std::uint64_t* value);
  /// Up to the next blank.
  std::string_view TakeWord();

  void SkipBlanks();
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// Empty, or a comment.
bool IsBlank(std::string_view line);

/// The line from which on there are mappings.
bool IsMapsHeading(std::string_view line);

/// " 0x401234 0x401000" to the end of the line; one is taken off each. False if it is anything
/// else.
bool TakeCallAddresses(Cursor* cursor, std::vector<std::uint64_t>* addresses);

/// A profile without its mappings: stacks are addresses, leaf first.
struct Draft {
  struct Record {
    std::vector<std::uint64_t> stack;
    std::vector<std::int64_t> values;
    std::int64_t block_bytes = 0;  // label `bytes`, when has_block_bytes
  };

  std::vector<ValueType> sample_types;
  ValueType period_type;
  std::int64_t period = 0;
  std::int64_t duration_ns = 0;
  std::string_view drop_frames;
  bool has_block_bytes = false;
  std::vector<Record> records;
};

/// Puts mappings under the addresses. `maps` is the rest of the file: a list as in
/// /proc/self/maps, or with file names before offsets; what is not a mapping is passed over.
/// Addresses outside of all get a mapping "[unmapped]".
/// REQUIRES: the budget was asked for the records and for the text of `maps`.
/// kResourceExhausted  locations or mappings take more than is left
Result<Profile> Finish(Draft draft, std::string_view maps, Budget* budget);

/// As the list in Finish(): executable mappings, adjoining pieces joined, the program first.
/// Variables have names of at most 64 bytes: a longer one is passed over.
/// kResourceExhausted  names take more than the budget once variables are put in
Result<std::vector<Mapping>> ParseMaps(std::string_view maps, Budget* budget);

bool IsHeap(std::string_view bytes);
bool IsCount(std::string_view bytes);
bool IsContention(std::string_view bytes);
bool IsCpu(std::string_view bytes);

/// REQUIRES: for the first three, that the budget was asked for the whole text.
Result<Profile> ParseHeap(std::string_view bytes, Budget* budget);
Result<Profile> ParseCount(std::string_view bytes, Budget* budget);
Result<Profile> ParseContention(std::string_view bytes, Budget* budget);
Result<Profile> ParseCpu(std::string_view bytes, Budget* budget);

}  // namespace heldby::legacy

#include "profile/text.h"

namespace heldby::legacy {

template <typename... Parts>
Status Lines::Bad(const Parts&... parts) const {
  return BadLine(Concat(parts...));
}

}  // namespace heldby::legacy
