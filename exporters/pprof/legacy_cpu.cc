// gperftools' binary CPU profile: machine words of the process that wrote it.
//   header   0  3  0  period in microseconds  0
//   records  count  depth  address * depth     until  0  1  0
//   then     text: the mappings
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "exporters/pprof/legacy_parts.h"
#include "profile/arithmetic.h"
#include "profile/drop_frames.h"
#include "profile/flat_hash.h"
#include "profile/text.h"

namespace heldby::legacy {
namespace {

class Words {
 public:
  Words(std::string_view bytes, std::size_t word_bytes, bool is_big_endian)
      : bytes_(bytes), word_bytes_(word_bytes), is_big_endian_(is_big_endian) {}

  bool Next(std::uint64_t* word) {
    if (left() == 0) return false;
    *word = 0;
    for (std::size_t i = 0; i < word_bytes_; ++i) {
      const std::size_t at = is_big_endian_ ? i : word_bytes_ - 1 - i;
      *word = *word << 8 | static_cast<unsigned char>(bytes_[offset_ + at]);
    }
    offset_ += word_bytes_;
    return true;
  }

  std::size_t left() const { return (bytes_.size() - offset_) / word_bytes_; }
  std::size_t offset() const { return offset_; }
  std::string_view rest() const { return bytes_.substr(offset_); }

 private:
  std::string_view bytes_;
  std::size_t word_bytes_;
  bool is_big_endian_;
  std::size_t offset_ = 0;
};

struct Start {
  Words words;  // behind the header
  std::int64_t period_us;
};

// Only one reading of the first bytes makes sense.
std::optional<Start> ReadHeader(std::string_view bytes) {
  for (std::size_t word_bytes : {4, 8}) {
    for (bool is_big_endian : {false, true}) {
      Words words(bytes, word_bytes, is_big_endian);
      std::uint64_t h[5] = {};
      for (std::uint64_t& word : h) {
        if (!words.Next(&word)) break;
      }
      constexpr std::uint64_t kMaxPeriodUs = std::uint64_t{1} << 40;
      if (h[0] == 0 && h[1] == 3 && h[2] == 0 && h[3] > 0 && h[3] <= kMaxPeriodUs &&
          h[4] == 0) {
        return Start{words, static_cast<std::int64_t>(h[3])};
      }
    }
  }
  return std::nullopt;
}

Status Bad(const Words& words, std::string_view what) {
  return Status(StatusCode::kDataLoss, Concat("byte ", words.offset(), ": ", what));
}

Status ReadRecords(Words* words, std::int64_t period_ns, Budget* budget,
                   std::vector<Draft::Record>* records) {
  std::uint64_t count = 0;
  std::uint64_t depth = 0;
  while (words->left() > 0) {
    const Words start = *words;
    if (!words->Next(&count) || !words->Next(&depth) || depth > words->left()) {
      return Bad(start, "this record ends after the file");
    }
    if (!budget->TakeRecord(depth)) return Budget::Exceeded();
    Draft::Record record;
    record.stack.resize(depth);
    for (std::uint64_t& address : record.stack) words->Next(&address);
    if (count == 0 && depth == 1 && record.stack[0] == 0) return Status();
    if (count > static_cast<std::uint64_t>(INT64_MAX)) {
      return Bad(start, "this record counts more than 2^63 samples");
    }
    // The leaf is where the signal struck; all others are return addresses.
    for (std::size_t i = 1; i < record.stack.size(); ++i) --record.stack[i];
    const auto samples = static_cast<std::int64_t>(count);
    record.values = {samples, SaturatingMultiply(samples, period_ns)};
    records->push_back(std::move(record));
  }
  return Status();  // cut off, but between records: what is there is good
}

void RemoveSecond(Draft::Record* record) { record->stack.erase(record->stack.begin() + 1); }

// The signal handler leaves one or two frames between the leaf and the code it interrupted.
// They are known by being in (nearly) all stacks: all but one in 32.
void StripSignalFrames(std::vector<Draft::Record>* records) {
  const std::size_t needed = records->size() - records->size() / 32;
  for (int pass = 0; pass < 2; ++pass) {
    FlatHashMap<std::uint64_t, std::size_t> uses;
    for (const Draft::Record& record : *records) {
      if (record.stack.size() > 1) ++uses[record.stack[1]];
    }
    const auto common = std::find_if(uses.begin(), uses.end(),
                                     [&](const auto& use) { return use.second >= needed; });
    if (common == uses.end()) return;
    for (Draft::Record& record : *records) {
      if (record.stack.size() > 1 && record.stack[1] == common->first) RemoveSecond(&record);
    }
  }
}

}  // namespace

bool IsCpu(std::string_view bytes) { return ReadHeader(bytes).has_value(); }

Result<Profile> ParseCpu(std::string_view bytes, Budget* budget) {
  std::optional<Start> start = ReadHeader(bytes);
  if (!start) return Status(StatusCode::kDataLoss, "byte 0: not a CPU profile");
  Draft draft;
  draft.period = SaturatingMultiply(start->period_us, 1000);
  Status status = ReadRecords(&start->words, draft.period, budget, &draft.records);
  if (!status.ok()) return status;
  if (!budget->TakeText(start->words.rest())) return Budget::Exceeded();
  StripSignalFrames(&draft.records);
  // Signal context and unwinder may both report the leaf; the second one was moved by one.
  for (Draft::Record& record : draft.records) {
    if (record.stack.size() > 1 && record.stack[0] == record.stack[1] + 1)
      RemoveSecond(&record);
  }
  draft.sample_types = {{"samples", "count"}, {"cpu", "nanoseconds"}};
  draft.period_type = {"cpu", "nanoseconds"};
  draft.drop_frames = kCpuDropFrames;
  return Finish(std::move(draft), start->words.rest(), budget);
}

}  // namespace heldby::legacy
