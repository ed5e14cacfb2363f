#include "exporters/pprof/dump.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "exporters/pprof/dump_parts.h"
#include "exporters/pprof/legacy_parts.h"
#include "exporters/pprof/mapping_index.h"
#include "profile/builder.h"
#include "profile/drop_frames.h"
#include "profile/dump_format.h"
#include "profile/flat_hash.h"
#include "profile/label_name.h"
#include "profile/text.h"

namespace heldby {
namespace {

using legacy::Budget;
using legacy::Cursor;
using legacy::Lines;

// A name comes once in a sample: the first one counts.
void AddLabel(Label label, std::vector<Label>* labels) {
  const bool is_number = !label.number_unit.empty();
  if (label.text.empty() && !is_number) return;
  if (std::ranges::find(*labels, label.key, &Label::key) == labels->end()) {
    labels->push_back(std::move(label));
  }
}

void AddText(const char* key, std::string text, std::vector<Label>* labels) {
  AddLabel({.key = key, .text = std::move(text)}, labels);
}

void AddNumber(const char* key, std::int64_t number, const char* unit,
               std::vector<Label>* labels) {
  AddLabel({.key = key, .number = number, .number_unit = unit}, labels);
}

class DumpParser {
 public:
  Result<Profile> Parse(std::string_view text);

 private:
  struct Site {
    std::int64_t id = 0;
    std::int64_t objects = 0;
    std::int64_t bytes = 0;
    bool is_cut = false;
    std::vector<Label> labels;
    std::vector<std::uint64_t> frames;  // call addresses
  };
  struct HeldPart {
    std::int64_t connection = 0;
    std::int64_t task = 0;
    std::int64_t bytes = 0;
    std::int64_t objects = 0;
    bool is_guessed = false;
  };

  bool ParseRecord(std::string_view line);
  bool ParseMapping(Cursor cursor);
  bool ParseConnection(Cursor cursor);
  bool ParseTask(Cursor cursor);
  bool ParseSite(Cursor cursor);
  bool ParseHeld(Cursor cursor);
  bool ParseDropped(Cursor cursor);
  void ParseSummary(Lines* lines);
  Status Build();
  Result<std::vector<LocationId>> StackOf(const Site& site, const legacy::MappingIndex& index);
  void AddValues(Site site, const std::vector<LocationId>& stack);

  // Code that is gone and frames of our own: as in profiles of a living process.
  static constexpr std::uint64_t kUnloadedStart = 0xffff000000000000;
  static constexpr std::uint64_t kUnloadedLimit = 0xffff800000000000;
  LocationId Synthetic(std::uint64_t address, const char* name);

  ProfileBuilder builder_{{{"inuse_objects", "count"}, {"inuse_space", "bytes"}}};
  Budget budget_;
  bool is_out_of_budget_ = false;
  bool has_end_ = false;
  bool has_held_ = false;
  std::int64_t damaged_lines_ = 0;
  std::vector<Mapping> mappings_;
  std::vector<Site> sites_;
  FlatHashMap<std::int64_t, std::vector<Label>> connections_;
  FlatHashMap<std::int64_t, std::vector<Label>> tasks_;
  FlatHashMap<std::int64_t, std::vector<HeldPart>> held_;
  LocationId last_new_{};
};

// What the header of every report is to say.
void DumpParser::ParseSummary(Lines* lines) {
  constexpr std::string_view kTold[] = {"reason ", "process ", "limit ", "used ", "growth "};
  bool is_heading = true;
  while (lines->Next() && lines->line() != dump::kRecordsHeading) {
    const std::string_view line = lines->line();
    is_heading = is_heading && !line.empty();
    const bool is_told = std::ranges::any_of(
        kTold, [line](std::string_view key) { return line.starts_with(key); });
    if (!is_heading || !is_told || !budget_.Take(line.size())) continue;
    const std::size_t space = line.find(' ');
    Cursor value(line.substr(space));
    value.SkipBlanks();
    builder_.header().comments.push_back(
        Concat("heldby: ", line.substr(0, space), ": ", Unescaped(value.rest())));
  }
}

Result<Profile> DumpParser::Parse(std::string_view text) {
  Profile& header = builder_.header();
  header.period_type = {"space", "bytes"};
  header.drop_frames = AllocationEntriesPattern();
  header.default_sample_type = "inuse_space";
  Lines lines(text);
  ParseSummary(&lines);
  while (!has_end_ && lines.Next()) {
    if (!budget_.TakeRecord(lines.line().size() / 8)) return Budget::Exceeded();
    // The last line of a file that was cut is no damage.
    if (!ParseRecord(lines.line()) && !lines.rest().empty()) ++damaged_lines_;
    if (is_out_of_budget_) return Budget::Exceeded();
  }
  if (damaged_lines_ != 0) {
    header.comments.push_back(
        Concat("heldby: ", damaged_lines_, " lines of the dump are damaged and left out"));
  }
  if (!has_end_) {
    header.comments.push_back("heldby: the dump was cut: what would follow is missing");
  }
  if (Status status = Build(); !status.ok()) return status;
  return std::move(builder_).Build();
}

bool DumpParser::ParseRecord(std::string_view line) {
  if (line == "e") return has_end_ = true;
  if (line.size() < 2 || line[1] != ' ') return line.empty();
  const Cursor cursor(line.substr(2));
  std::int64_t number = 0;
  switch (line[0]) {
    case 'p':
      if (!Cursor(cursor).TakeInt(&number) || number < 0) return false;
      builder_.header().period = number;
      return true;
    case 'n':
      if (!Cursor(cursor).TakeInt(&number) || number < 0) return false;
      builder_.header().time_ns = number;
      return true;
    case 'm':
      return ParseMapping(cursor);
    case 'c':
      return ParseConnection(cursor);
    case 't':
      return ParseTask(cursor);
    case 's':
      return ParseSite(cursor);
    case 'h':
      return ParseHeld(cursor);
    case 'd':
      return ParseDropped(cursor);
    default:
      return false;
  }
}

bool DumpParser::ParseMapping(Cursor cursor) {
  Mapping mapping;
  if (!cursor.TakeHex(&mapping.start) || !cursor.TakeHex(&mapping.limit) ||
      !cursor.TakeHex(&mapping.file_offset) || mapping.limit <= mapping.start) {
    return false;
  }
  const std::string_view build_id = cursor.TakeWord();
  if (build_id.empty()) return false;
  if (build_id != "-") mapping.build_id = Unescaped(build_id);
  cursor.SkipBlanks();
  mapping.filename = Unescaped(cursor.rest());
  if (mapping.filename.empty()) return false;
  mappings_.push_back(std::move(mapping));
  return true;
}

bool DumpParser::ParseConnection(Cursor cursor) {
  std::int64_t id = 0;
  std::int64_t held = 0;
  std::int64_t age_seconds = 0;
  if (!cursor.TakeInt(&id)) return false;
  const std::string_view direction = cursor.TakeWord();
  const std::string_view phase = cursor.TakeWord();
  if (!cursor.TakeInt(&held) || !cursor.TakeInt(&age_seconds)) return false;
  const std::string_view peer = cursor.TakeWord();
  const std::string_view state = cursor.TakeWord();
  if (state.empty() || (direction != "in" && direction != "out")) return false;
  std::vector<Label>& labels = connections_[id];
  labels.clear();
  AddText("direction", direction == "in" ? "inbound" : "outbound", &labels);
  AddText("peer", Unescaped(peer), &labels);
  if (phase == "ended") AddText("holder", "ended", &labels);
  AddText("state", Unescaped(state), &labels);
  AddNumber("age", age_seconds, "seconds", &labels);
  return true;
}

bool DumpParser::ParseTask(Cursor cursor) {
  std::int64_t id = 0;
  std::int64_t held = 0;
  std::int64_t age_seconds = 0;
  std::int64_t connection = 0;
  if (!cursor.TakeInt(&id)) return false;
  const std::string_view phase = cursor.TakeWord();
  if (!cursor.TakeInt(&held) || !cursor.TakeInt(&age_seconds) || !cursor.TakeInt(&connection)) {
    return false;
  }
  const std::string_view name = cursor.TakeWord();
  const std::string_view state = cursor.TakeWord();
  if (state.empty()) return false;
  std::vector<Label>& labels = tasks_[id];
  labels.clear();
  AddText("task", name == "-" ? "unnamed" : Unescaped(name), &labels);
  // Where there is a connection, the rest is the connection's.
  if (connection != 0) return true;
  if (phase == "ended") AddText("holder", "ended", &labels);
  AddText("state", Unescaped(state), &labels);
  AddNumber("age", age_seconds, "seconds", &labels);
  return true;
}

bool DumpParser::ParseSite(Cursor cursor) {
  constexpr std::size_t kMostLabels = 1000;  // far more than a place can have
  Site site;
  std::int64_t class_bytes = 0;
  if (!cursor.TakeInt(&site.id) || !cursor.TakeInt(&class_bytes) ||
      !cursor.TakeInt(&site.objects) || !cursor.TakeInt(&site.bytes) || site.objects < 0 ||
      site.bytes < 0) {
    return false;
  }
  const std::string_view whole = cursor.TakeWord();
  site.is_cut = whole == "cut";
  std::string_view labels = cursor.TakeWord();
  if (labels.empty() || (!site.is_cut && whole != "whole")) return false;
  while (labels != "-" && !labels.empty()) {
    const std::string_view label = labels.substr(0, labels.find(','));
    labels.remove_prefix(std::min(labels.size(), label.size() + 1));
    const std::size_t sign = label.find('=');
    std::string key = Unescaped(label.substr(0, sign));
    if (sign == label.npos || key.empty() || site.labels.size() == kMostLabels) return false;
    AddLabel(
        {.key = ProfileLabelName(std::move(key)), .text = Unescaped(label.substr(sign + 1))},
        &site.labels);
  }
  AddNumber("bytes", class_bytes, "bytes", &site.labels);
  for (cursor.SkipBlanks(); !cursor.rest().empty(); cursor.SkipBlanks()) {
    std::uint64_t frame = 0;
    const bool is_gone = cursor.Take("!");
    if (!cursor.TakeHex(&frame) || frame == 0) return false;
    --frame;
    site.frames.push_back(is_gone ? kUnloadedStart | (frame & 0x7fff'ffff'ffff) : frame);
  }
  sites_.push_back(std::move(site));
  return true;
}

bool DumpParser::ParseHeld(Cursor cursor) {
  HeldPart held;
  std::int64_t site = 0;
  if (!cursor.TakeInt(&site) || !cursor.TakeInt(&held.connection) ||
      !cursor.TakeInt(&held.task) || !cursor.TakeInt(&held.bytes) ||
      !cursor.TakeInt(&held.objects) || held.bytes < 0 || held.objects < 0) {
    return false;
  }
  held.is_guessed = cursor.TakeWord() == "guessed";
  held_[site].push_back(held);
  has_held_ = true;
  return true;
}

bool DumpParser::ParseDropped(Cursor cursor) {
  std::int64_t count = 0;
  if (!cursor.TakeInt(&count)) return false;
  cursor.SkipBlanks();
  builder_.header().comments.push_back(
      Concat("heldby: ", count, " ", Unescaped(cursor.rest())));
  return true;
}

LocationId DumpParser::Synthetic(std::uint64_t address, const char* name) {
  const bool is_gone = address >= kUnloadedStart;
  const MappingId mapping =
      builder_.AddMapping({.start = is_gone ? kUnloadedStart : 0x1000,
                           .limit = is_gone ? kUnloadedLimit : 0x2000,
                           .filename = is_gone ? "[unloaded]" : "[heldby]",
                           .has_functions = true});
  return builder_.AddLocation(mapping, address, {{.function = builder_.AddFunction(name)}});
}

Result<std::vector<LocationId>> DumpParser::StackOf(const Site& site,
                                                    const legacy::MappingIndex& index) {
  std::vector<LocationId> stack;
  for (const std::uint64_t address : site.frames) {
    if (address >= kUnloadedStart && address < kUnloadedLimit) {
      stack.push_back(Synthetic(address, "[unloaded code]"));
    } else {
      MappingId mapping = index.Find(address);
      if (mapping == MappingId::kNone) mapping = builder_.AddMapping(legacy::Unmapped());
      stack.push_back(builder_.AddLocation(mapping, address));
    }
    if (stack.back() > last_new_) {
      if (!budget_.TakeLocation()) return Budget::Exceeded();
      last_new_ = stack.back();
    }
  }
  if (site.frames.empty()) stack.push_back(Synthetic(0x1001, "[heldby: stack table full]"));
  if (site.is_cut) stack.push_back(Synthetic(0x1002, "[heldby: deeper frames cut]"));
  return stack;
}

// What a holder holds of the site in rows of its own, and the rest in one.
void DumpParser::AddValues(Site site, const std::vector<LocationId>& stack) {
  const auto parts = held_.find(site.id);
  if (parts != held_.end()) {
    for (const HeldPart& part : parts->second) {
      // Samples came and went while it was written: never more than was in use.
      const std::int64_t bytes = std::min(part.bytes, site.bytes);
      const std::int64_t objects = std::min(part.objects, site.objects);
      if (bytes == 0) continue;
      site.bytes -= bytes;
      site.objects -= objects;
      std::vector<Label> labels = site.labels;
      if (part.connection != 0) AddNumber("connection", part.connection, "id", &labels);
      for (const auto& [known, id] :
           {std::pair(&connections_, part.connection), std::pair(&tasks_, part.task)}) {
        const auto found = known->find(id);
        if (found == known->end()) continue;
        for (const Label& label : found->second) AddLabel(label, &labels);
      }
      if (part.is_guessed) AddText("attribution", "implicit", &labels);
      builder_.AddSample(stack, {objects, bytes}, std::move(labels));
    }
    // A site comes once; where a damaged dump says otherwise, what is held comes once.
    held_.erase(parts);
  }
  if (has_held_) {
    if (site.bytes == 0 && site.objects == 0) return;
    AddText("holder", "unattributed", &site.labels);
  }
  builder_.AddSample(stack, {site.objects, site.bytes}, std::move(site.labels));
}

Status DumpParser::Build() {
  legacy::PutProgramFirst(&mappings_);
  const legacy::MappingIndex index(mappings_, &builder_);
  for (Site& site : sites_) {
    const Result<std::vector<LocationId>> stack = StackOf(site, index);
    if (!stack.ok()) return stack.status();
    AddValues(std::move(site), *stack);
  }
  return {};
}

}  // namespace

Result<Profile> ParseDump(std::string_view bytes) {
  const Result<std::string_view> text = DumpTextOf(bytes);
  if (!text.ok()) return text.status();
  return DumpParser().Parse(*text);
}

}  // namespace heldby
