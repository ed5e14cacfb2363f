#include "exporters/pprof/text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "profile/arithmetic.h"
#include "profile/text.h"
#include "profile/validate.h"

namespace heldby {
namespace {

const Location& At(const Profile& profile, LocationId id) {
  return profile.locations[static_cast<std::size_t>(id) - 1];
}

// " 0x401234 0x401000": what the parsers read.
std::string Addresses(const Profile& profile, const Sample& sample) {
  // Their pattern wants an address; 1 becomes 0, "nowhere", when one is taken off.
  if (sample.stack.empty()) return " 0x1";
  std::string text;
  for (LocationId id : sample.stack) {
    absl::StrAppend(&text, " 0x", absl::Hex(At(profile, id).address + 1));
  }
  return text;
}

// A name must not end the comment it stands in.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = '?';
  }
  return text;
}

struct FrameRow {
  std::string address;
  std::string function;
  std::string place;
};

std::vector<FrameRow> FrameRows(const Profile& profile, const Sample& sample) {
  std::vector<FrameRow> rows;
  for (LocationId id : sample.stack) {
    const Location& location = At(profile, id);
    const std::string address = absl::StrCat("0x", absl::Hex(location.address + 1));
    for (const Line& line : location.lines) {
      const Function& function = profile.functions[static_cast<std::size_t>(line.function) - 1];
      rows.push_back({address, OneLine(function.name),
                      function.filename.empty()
                          ? ""
                          : OneLine(absl::StrCat(function.filename, ":", line.line))});
    }
    if (!location.lines.empty()) continue;
    rows.push_back({address, "", ""});
    if (location.mapping == MappingId::kNone) continue;
    const Mapping& mapping = profile.mappings[static_cast<std::size_t>(location.mapping) - 1];
    // No name: the file and the offset in it, which addr2line and friends take.
    rows.back().function = OneLine(
        absl::StrCat(mapping.filename, "+0x",
                     absl::Hex(location.address - mapping.start + mapping.file_offset)));
  }
  return rows;
}

// Go aligns these columns with tabs eight wide; at least one character stays free.
void AppendCell(std::string* text, const std::string& cell, std::size_t widest) {
  constexpr std::size_t kTab = 8;
  const std::size_t tabs = widest / kTab - cell.size() / kTab + 1;
  absl::StrAppend(text, cell, std::string(tabs, '\t'));
}

void AppendFrames(std::string* text, const Profile& profile, const Sample& sample) {
  const std::vector<FrameRow> rows = FrameRows(profile, sample);
  std::size_t widest_address = 0;
  std::size_t widest_function = 0;
  for (const FrameRow& row : rows) {
    widest_address = std::max(widest_address, row.address.size());
    widest_function = std::max(widest_function, row.function.size());
  }
  for (const FrameRow& row : rows) {
    text->append("#\t");
    if (row.function.empty()) {
      text->append(row.address);
    } else {
      AppendCell(text, row.address, widest_address);
      if (row.place.empty()) {
        text->append(row.function);
      } else {
        AppendCell(text, row.function, widest_function);
        text->append(row.place);
      }
    }
    text->push_back('\n');
  }
  text->push_back('\n');
}

Status CheckColumns(const Profile& profile, const std::vector<ValueType>& wanted,
                    std::string_view names) {
  if (profile.sample_types == wanted) return ValidateFormat(profile);
  return Status(StatusCode::kInvalidArgument,
                Concat("this text needs the columns ", names, ", and only these"));
}

// What is written for one pair of columns.
struct Raw {
  std::int64_t objects = 0;
  std::int64_t bytes = 0;
};

// The reader's estimate for a record: bytes / (1 - exp(-mean/R)).
double Unsampled(double bytes, double objects, double rate) {
  return bytes / -std::expm1(-bytes / objects / rate);
}

// The record for which the reader's formula gives the estimate back.
//
// With a block size s of its own, a sample of n blocks was estimated n/p(s), and n comes out
// whole. Where sizes were mixed it does not, and cannot: then the number of objects is rounded,
// and bytes are chosen so that *bytes* come back right, by bisection: the estimate grows with
// them. Below R bytes per object there is no such record, since one sample stands for R at
// least; there, the nearest is written.
Raw Distort(std::int64_t objects, std::int64_t bytes, std::int64_t rate) {
  if (objects <= 0 || bytes <= 0) return {};
  if (rate <= 1) return {objects, bytes};
  const double r = static_cast<double>(rate);
  const double mean = static_cast<double>(bytes) / static_cast<double>(objects);
  const double probability = -std::expm1(-mean / r);
  Raw raw;
  raw.objects = std::max<std::int64_t>(
      1, SaturatingCast(std::round(static_cast<double>(objects) * probability)));
  std::int64_t low = 1;
  std::int64_t high = bytes;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    const double estimate =
        Unsampled(static_cast<double>(middle), static_cast<double>(raw.objects), r);
    if (estimate < static_cast<double>(bytes)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  raw.bytes = low;
  return raw;
}

struct HeapRecord {
  const Sample* sample;
  Raw alloc;
  Raw inuse;
};

std::string HeapLine(const Raw& inuse, const Raw& alloc) {
  return absl::StrCat(inuse.objects, ": ", inuse.bytes, " [", alloc.objects, ": ", alloc.bytes,
                      "] @");
}

void Accumulate(Raw* total, const Raw& raw) {
  total->objects = SaturatingAdd(total->objects, raw.objects);
  total->bytes = SaturatingAdd(total->bytes, raw.bytes);
}

// {"k":"v", "k2":"v2"}
std::string LabelText(const std::vector<Label>& labels) {
  std::map<std::string, std::string> sorted;
  for (const Label& label : labels) {
    sorted[label.key] =
        label.text.empty() ? absl::StrCat(label.number, label.number_unit) : label.text;
  }
  std::string text;
  for (const auto& [key, value] : sorted) {
    absl::StrAppend(&text, text.empty() ? "{" : ", ", "\"", absl::Utf8SafeCEscape(key), "\":\"",
                    absl::Utf8SafeCEscape(value), "\"");
  }
  return text + "}";
}

}  // namespace

Result<std::string> HeapText(const Profile& profile, std::int64_t sample_bytes,
                             const std::vector<std::string>& trailer) {
  if (Status status = CheckColumns(profile,
                                   {{"alloc_objects", "count"},
                                    {"alloc_space", "bytes"},
                                    {"inuse_objects", "count"},
                                    {"inuse_space", "bytes"}},
                                   "alloc_objects, alloc_space, inuse_objects, inuse_space");
      !status.ok()) {
    return status;
  }
  std::vector<HeapRecord> records;
  Raw alloc;
  Raw inuse;
  for (const Sample& sample : profile.samples) {
    const std::vector<std::int64_t>& v = sample.values;
    records.push_back(
        {&sample, Distort(v[0], v[1], sample_bytes), Distort(v[2], v[3], sample_bytes)});
    Accumulate(&alloc, records.back().alloc);
    Accumulate(&inuse, records.back().inuse);
  }
  std::stable_sort(
      records.begin(), records.end(),
      [](const HeapRecord& a, const HeapRecord& b) { return a.inuse.bytes > b.inuse.bytes; });
  // Equal totals make a reader see two columns instead of four.
  if (alloc.bytes == inuse.bytes) alloc.bytes = SaturatingAdd(alloc.bytes, 1);

  std::string text = absl::StrCat("heap profile: ", HeapLine(inuse, alloc), " heap/",
                                  SaturatingMultiply(2, sample_bytes), "\n");
  for (const HeapRecord& record : records) {
    absl::StrAppend(&text, HeapLine(record.inuse, record.alloc),
                    Addresses(profile, *record.sample), "\n");
    AppendFrames(&text, profile, *record.sample);
  }
  if (!trailer.empty()) text += "\n";
  for (const std::string& line : trailer) absl::StrAppend(&text, "# ", OneLine(line), "\n");
  return text;
}

Result<std::string> CountText(std::string_view name, const Profile& profile) {
  if (Status status = ValidateFormat(profile); !status.ok()) return status;
  struct Group {
    std::int64_t count;
    std::string key;
    const Sample* sample;
  };
  std::vector<Group> groups;
  std::int64_t total = 0;
  for (const Sample& sample : profile.samples) {
    std::string key = absl::StrCat("@", Addresses(profile, sample), "\n");
    if (!sample.labels.empty()) {
      absl::StrAppend(&key, "# labels: ", LabelText(sample.labels), "\n");
    }
    groups.push_back({sample.values[0], std::move(key), &sample});
    total = SaturatingAdd(total, sample.values[0]);
  }
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return a.count != b.count ? a.count > b.count : a.key < b.key;
  });
  std::string word(name);  // the parser's pattern is \S+
  std::replace_if(
      word.begin(), word.end(), [](unsigned char c) { return c <= ' '; }, '_');
  std::string text = absl::StrCat(word, " profile: total ", total, "\n");
  for (const Group& group : groups) {
    absl::StrAppend(&text, group.count, " ", group.key);
    AppendFrames(&text, profile, *group.sample);
  }
  return text;
}

Result<std::string> ContentionText(ContentionKind kind, const Profile& profile) {
  if (Status status = CheckColumns(
          profile, {{"contentions", "count"}, {"delay", "nanoseconds"}}, "contentions, delay");
      !status.ok()) {
    return status;
  }
  std::vector<const Sample*> samples;
  for (const Sample& sample : profile.samples) samples.push_back(&sample);
  std::stable_sort(samples.begin(), samples.end(), [](const Sample* a, const Sample* b) {
    return a->values[1] > b->values[1];
  });
  // A cycle of one nanosecond, a period of one: the reader's scaling leaves values as they are.
  std::string text = kind == ContentionKind::kMutex
                         ? "--- mutex:\ncycles/second=1000000000\nsampling period=1\n"
                         : "--- contention:\ncycles/second=1000000000\n";
  for (const Sample* sample : samples) {
    absl::StrAppend(&text, sample->values[1], " ", sample->values[0], " @",
                    Addresses(profile, *sample), "\n");
    AppendFrames(&text, profile, *sample);
  }
  return text;
}

}  // namespace heldby
