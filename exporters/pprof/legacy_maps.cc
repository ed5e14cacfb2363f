#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporters/pprof/legacy_parts.h"
#include "exporters/pprof/mapping_index.h"
#include "profile/builder.h"
#include "profile/flat_hash.h"

namespace heldby::legacy {
namespace {

bool IsHexWord(std::string_view word) {
  return !word.empty() && word.find_first_not_of("0123456789abcdefABCDEF") == word.npos;
}

// "r-xp" and its like.
bool IsPermissions(std::string_view word) {
  return word.size() == 4 && word.find_first_not_of("rwxps-") == word.npos;
}

// gperftools writes "build=/path" and then "$build" for it in the names below. As in pprof the
// name ends where a variable does, so "$buildx" is "build" too, and the first one defined wins.
// Every beginning of a name is looked up, not every variable tried: the work per name does not
// grow with the number of variables.
class Variables {
 public:
  // A line "name=value".
  void Define(std::string_view line) {
    const std::size_t sign = line.find('=');
    if (sign == line.npos || sign == 0 || sign > kMaxNameBytes) return;
    const std::size_t order = variables_.size();
    variables_.try_emplace(line.substr(0, sign), Variable{order, line.substr(sign + 1)});
  }

  // False if the longer name is more than the budget allows.
  bool Substitute(std::string* text, Budget* budget) const {
    if (!text->starts_with('$')) return true;
    const std::string_view name = std::string_view(*text).substr(1, kMaxNameBytes);
    const Variable* first = nullptr;
    std::size_t first_bytes = 0;
    for (std::size_t size = 1; size <= name.size(); ++size) {
      const auto found = variables_.find(name.substr(0, size));
      if (found == variables_.end()) continue;
      if (first != nullptr && first->order < found->second.order) continue;
      first = &found->second;
      first_bytes = size;
    }
    if (first == nullptr) return true;
    // The mapping is copied once, into the builder.
    if (!budget->Take(2 * first->value.size())) return false;
    text->replace(0, 1 + first_bytes, first->value);
    return true;
  }

 private:
  static constexpr std::size_t kMaxNameBytes = 64;

  struct Variable {
    std::size_t order;
    std::string_view value;  // in the text
  };
  FlatHashMap<std::string_view, Variable> variables_;
};

enum class LineKind { kMapping, kOther, kNotExecutable };

//   55d0-55d8 r-xp 00002000 08:01 1234  /usr/bin/app         as /proc/self/maps
//   55d0-55d8: /usr/bin/app (@2000) ab12cd                   brief; permissions may stand first
LineKind ParseMapping(std::string_view line, Mapping* mapping) {
  Cursor cursor(line);
  cursor.Take("0x");
  if (!cursor.TakeHex(&mapping->start) || !cursor.Take("-")) return LineKind::kOther;
  cursor.Take("0x");
  if (!cursor.TakeHex(&mapping->limit)) return LineKind::kOther;
  if (mapping->limit <= mapping->start) return LineKind::kOther;
  cursor.Take(":");

  Cursor ahead = cursor;
  const std::string_view permissions = ahead.TakeWord();
  if (IsPermissions(permissions)) {
    cursor = ahead;
    if (permissions.find('x') == permissions.npos) return LineKind::kNotExecutable;
    // An offset and a device tell the long form.
    std::uint64_t device = 0;
    if (ahead.TakeHex(&mapping->file_offset) && ahead.TakeHex(&device) && ahead.Take(":")) {
      ahead.TakeWord();  // minor device
      ahead.TakeWord();  // inode
      ahead.SkipBlanks();
      mapping->filename = ahead.rest();
      return LineKind::kMapping;
    }
    mapping->file_offset = 0;
  }
  mapping->filename = cursor.TakeWord();
  if (cursor.Take("(@")) {
    if (!cursor.TakeHex(&mapping->file_offset) || !cursor.Take(")")) return LineKind::kOther;
  }
  if (const std::string_view word = cursor.TakeWord(); IsHexWord(word))
    mapping->build_id = word;
  return LineKind::kMapping;
}

// The kernel splits one mapping of a file when a part of it changes, e.g. to huge pages.
bool Continues(const Mapping& piece, const Mapping& next) {
  return piece.limit == next.start && piece.filename == next.filename &&
         piece.build_id == next.build_id && !piece.filename.empty() &&
         piece.file_offset + (piece.limit - piece.start) == next.file_offset;
}

}  // namespace

Result<std::vector<Mapping>> ParseMaps(std::string_view maps, Budget* budget) {
  std::vector<Mapping> mappings;
  Variables variables;
  for (Lines lines(maps); lines.Next();) {
    Mapping mapping;
    switch (ParseMapping(lines.line(), &mapping)) {
      case LineKind::kNotExecutable:
        break;
      case LineKind::kOther:
        variables.Define(lines.line());
        break;
      case LineKind::kMapping:
        if (!variables.Substitute(&mapping.filename, budget)) return Budget::Exceeded();
        if (!mappings.empty() && Continues(mappings.back(), mapping)) {
          mappings.back().limit = mapping.limit;
        } else {
          mappings.push_back(std::move(mapping));
        }
    }
  }
  PutProgramFirst(&mappings);
  return mappings;
}

Result<Profile> Finish(Draft draft, std::string_view maps, Budget* budget) {
  ProfileBuilder builder(std::move(draft.sample_types));
  builder.header().period_type = std::move(draft.period_type);
  builder.header().period = draft.period;
  builder.header().duration_ns = draft.duration_ns;
  builder.header().drop_frames = draft.drop_frames;

  const Result<std::vector<Mapping>> mappings = ParseMaps(maps, budget);
  if (!mappings.ok()) return mappings.status();
  const MappingIndex index(*mappings, &builder);
  std::vector<LocationId> stack;
  LocationId last_new{};
  for (const Draft::Record& record : draft.records) {
    stack.clear();
    for (std::uint64_t address : record.stack) {
      MappingId mapping = index.Find(address);
      if (mapping == MappingId::kNone) {
        mapping = builder.AddMapping(Unmapped());
      }
      stack.push_back(builder.AddLocation(mapping, address));
      if (stack.back() > last_new) {
        if (!budget->TakeLocation()) return Budget::Exceeded();
        last_new = stack.back();
      }
    }
    std::vector<Label> labels;
    if (draft.has_block_bytes) labels.push_back({"bytes", "", record.block_bytes, "bytes"});
    builder.AddSample(stack, record.values, std::move(labels));
  }
  return std::move(builder).Build();
}

}  // namespace heldby::legacy
