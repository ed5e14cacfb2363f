// heldby/profile.h - a profile as a value: what every snapshot returns and every exporter
// takes.
//
// Threads  plain values; no hidden sharing.
// Signals  unsafe: everything here allocates.
// Self     a profile taken with this library does not contain the taking of it.
// Units    every value column carries its unit in Profile::sample_types.
// Source   the model of google/pprof's profile.proto; the rules it must obey are
//          ValidateProfile()'s, one by one (docs/formats.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/status.h"

namespace heldby {

/// What a column of values means, e.g. {"inuse_space", "bytes"}.
struct ValueType {
  std::string type{};
  std::string unit{};
  bool operator==(const ValueType&) const = default;
};

/// A tag of a sample: either text, or a number with its unit. Part of the sample's identity.
struct Label {
  std::string key{};
  std::string text{};         // empty: this is a numeric label
  std::int64_t number = 0;    // only when text is empty
  std::string number_unit{};  // never empty for a number of 0: pprof would drop the label
  bool operator==(const Label&) const = default;
};

/// A loaded file, as one line of /proc/self/maps gives it.
struct Mapping {
  std::uint64_t start = 0;
  std::uint64_t limit = 0;
  std::uint64_t file_offset = 0;
  std::string filename{};
  std::string build_id{};  // lower-case hex of the GNU note; empty if the file has none
  bool has_functions = false;
  bool has_filenames = false;
  bool has_line_numbers = false;
  bool has_inline_frames = false;
};

/// Ids are positions in their table plus one (1..N, dense, in table order), so that 0 can mean
/// "none" and scrapers that insist on sequential ids are content.
enum class MappingId : std::uint32_t { kNone = 0 };
enum class FunctionId : std::uint32_t {};
enum class LocationId : std::uint32_t {};

struct Function {
  std::string name{};         // demangled, full
  std::string system_name{};  // as in the symbol table
  std::string filename{};
  std::int64_t start_line = 0;
};

struct Line {
  FunctionId function{};
  std::int64_t line = 0;  // 0: unknown
};

/// One place in the code. `lines` holds inlined callees first, the real function last.
struct Location {
  MappingId mapping = MappingId::kNone;
  std::uint64_t address = 0;  // run-time address of the call, that is: return address - 1
  std::vector<Line> lines{};
};

struct Sample {
  std::vector<LocationId> stack{};     // leaf first
  std::vector<std::int64_t> values{};  // one per sample type
  std::vector<Label> labels{};
};

struct Profile {
  std::vector<ValueType> sample_types{};
  std::vector<Sample> samples{};
  std::vector<Mapping> mappings{};  // [0] is the main binary
  std::vector<Location> locations{};
  std::vector<Function> functions{};
  std::string drop_frames{};  // anchored regular expression on simplified names
  std::string keep_frames{};
  std::int64_t time_ns = 0;      // when it was taken, since the epoch
  std::int64_t duration_ns = 0;  // > 0 only for a profile over an interval
  ValueType period_type{};
  std::int64_t period = 0;
  std::vector<std::string> comments{};
  std::string default_sample_type{};
  std::string doc_url{};
};

/// gzip-compressed profile.proto bytes, what `go tool pprof` reads.
///
/// kInvalidArgument  the profile breaks a rule of the format; the message names rule and place.
[[nodiscard]] Result<std::string> EncodePprof(const Profile& profile);

/// The reverse; takes gzip or raw bytes.
///
/// kDataLoss  the bytes are not a valid profile; the message names the offset.
[[nodiscard]] Result<Profile> DecodePprof(std::string_view bytes);

}  // namespace heldby
