#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <new>
#include <protozero/pbf_builder.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/string_view.h"
#include "exporters/pprof/gzip.h"
#include "exporters/pprof/wire.h"
#include "heldby/profile.h"
#include "profile/flat_hash.h"
#include "profile/text.h"
#include "profile/validate.h"

namespace heldby {
namespace {

// The table views the profile's own strings: it must not outlive the profile.
class StringTable {
 public:
  // string_table[0] must be "", and 0 then also means "none" in every message.
  StringTable() { IndexOf(""); }

  std::int64_t IndexOf(std::string_view text) {
    const auto [it, is_new] = index_.try_emplace(AsPiece(text), strings_.size());
    if (is_new) strings_.push_back(text);
    return it->second;
  }

  const std::deque<std::string_view>& strings() const { return strings_; }

 private:
  std::deque<std::string_view> strings_;
  FlatHashMap<absl::string_view, std::int64_t> index_;
};

// Writes the messages in the order of the tables. proto3: fields that are zero are left out,
// except the keys and values that give a message its meaning.
class Encoder {
 public:
  explicit Encoder(const Profile& profile) : profile_(profile) {}

  std::string Encode();

 private:
  using Out = protozero::pbf_builder<wire::Profile>;

  void Write(wire::Profile field, const ValueType& type);
  void Write(const Sample& sample);
  void Write(const Mapping& mapping, std::uint64_t id);
  void Write(const Location& location, std::uint64_t id);
  void Write(const Function& function, std::uint64_t id);
  void WriteHeader();

  template <typename Message>
  void WriteText(Message* message, auto field, std::string_view text) {
    if (!text.empty()) message->add_int64(field, strings_.IndexOf(text));
  }
  template <typename Message>
  static void WriteNumber(Message* message, auto field, std::int64_t number) {
    if (number != 0) message->add_int64(field, number);
  }
  template <typename Message>
  static void WriteFlag(Message* message, auto field, bool flag) {
    if (flag) message->add_bool(field, true);
  }

  const Profile& profile_;
  StringTable strings_;
  std::string bytes_;
  Out out_{bytes_};
};

void Encoder::Write(wire::Profile field, const ValueType& type) {
  protozero::pbf_builder<wire::ValueType> message(out_, field);
  // Even when both are empty: protozero takes back a message without fields, and the column
  // would be gone while its values stay.
  message.add_int64(wire::ValueType::kType, strings_.IndexOf(type.type));
  message.add_int64(wire::ValueType::kUnit, strings_.IndexOf(type.unit));
}

void Encoder::Write(const Sample& sample) {
  protozero::pbf_builder<wire::Sample> message(out_, wire::Profile::kSample);
  {
    protozero::packed_field_uint64 ids(message,
                                       protozero::pbf_tag_type(wire::Sample::kLocationId));
    for (LocationId id : sample.stack) ids.add_element(static_cast<std::uint64_t>(id));
  }
  message.add_packed_int64(wire::Sample::kValue, sample.values.begin(), sample.values.end());
  for (const Label& label : sample.labels) {
    protozero::pbf_builder<wire::Label> nested(message, wire::Sample::kLabel);
    WriteText(&nested, wire::Label::kKey, label.key);
    WriteText(&nested, wire::Label::kStr, label.text);
    WriteNumber(&nested, wire::Label::kNum, label.number);
    WriteText(&nested, wire::Label::kNumUnit, label.number_unit);
  }
}

void Encoder::Write(const Mapping& mapping, std::uint64_t id) {
  protozero::pbf_builder<wire::Mapping> message(out_, wire::Profile::kMapping);
  message.add_uint64(wire::Mapping::kId, id);
  message.add_uint64(wire::Mapping::kMemoryStart, mapping.start);
  message.add_uint64(wire::Mapping::kMemoryLimit, mapping.limit);
  message.add_uint64(wire::Mapping::kFileOffset, mapping.file_offset);
  WriteText(&message, wire::Mapping::kFilename, mapping.filename);
  WriteText(&message, wire::Mapping::kBuildId, mapping.build_id);
  WriteFlag(&message, wire::Mapping::kHasFunctions, mapping.has_functions);
  WriteFlag(&message, wire::Mapping::kHasFilenames, mapping.has_filenames);
  WriteFlag(&message, wire::Mapping::kHasLineNumbers, mapping.has_line_numbers);
  WriteFlag(&message, wire::Mapping::kHasInlineFrames, mapping.has_inline_frames);
}

void Encoder::Write(const Location& location, std::uint64_t id) {
  protozero::pbf_builder<wire::Location> message(out_, wire::Profile::kLocation);
  message.add_uint64(wire::Location::kId, id);
  if (location.mapping != MappingId::kNone) {
    message.add_uint64(wire::Location::kMappingId,
                       static_cast<std::uint64_t>(location.mapping));
  }
  message.add_uint64(wire::Location::kAddress, location.address);
  for (const Line& line : location.lines) {
    protozero::pbf_builder<wire::Line> nested(message, wire::Location::kLine);
    nested.add_uint64(wire::Line::kFunctionId, static_cast<std::uint64_t>(line.function));
    WriteNumber(&nested, wire::Line::kLine, line.line);
  }
}

void Encoder::Write(const Function& function, std::uint64_t id) {
  protozero::pbf_builder<wire::Function> message(out_, wire::Profile::kFunction);
  message.add_uint64(wire::Function::kId, id);
  WriteText(&message, wire::Function::kName, function.name);
  WriteText(&message, wire::Function::kSystemName, function.system_name);
  WriteText(&message, wire::Function::kFilename, function.filename);
  WriteNumber(&message, wire::Function::kStartLine, function.start_line);
}

void Encoder::WriteHeader() {
  WriteText(&out_, wire::Profile::kDropFrames, profile_.drop_frames);
  WriteText(&out_, wire::Profile::kKeepFrames, profile_.keep_frames);
  // At most once: a second time makes readers see two profiles glued together.
  WriteNumber(&out_, wire::Profile::kTimeNanos, profile_.time_ns);
  WriteNumber(&out_, wire::Profile::kDurationNanos, profile_.duration_ns);
  if (profile_.period_type != ValueType{})
    Write(wire::Profile::kPeriodType, profile_.period_type);
  WriteNumber(&out_, wire::Profile::kPeriod, profile_.period);
  for (const std::string& comment : profile_.comments) {
    out_.add_int64(wire::Profile::kComment, strings_.IndexOf(comment));
  }
  WriteText(&out_, wire::Profile::kDefaultSampleType, profile_.default_sample_type);
  WriteText(&out_, wire::Profile::kDocUrl, profile_.doc_url);
}

std::string Encoder::Encode() {
  for (const ValueType& type : profile_.sample_types) Write(wire::Profile::kSampleType, type);
  for (const Sample& sample : profile_.samples) Write(sample);
  std::uint64_t id = 0;
  for (const Mapping& mapping : profile_.mappings) Write(mapping, ++id);
  id = 0;
  for (const Location& location : profile_.locations) Write(location, ++id);
  id = 0;
  for (const Function& function : profile_.functions) Write(function, ++id);
  WriteHeader();
  // Last, when all strings are known.
  for (std::string_view text : strings_.strings()) {
    out_.add_string(wire::Profile::kStringTable, text.data(), text.size());
  }
  return std::move(bytes_);
}

}  // namespace

Result<std::string> EncodePprof(const Profile& profile) try {
  if (Status status = ValidateFormat(profile); !status.ok()) return status;
  return Gzip(Encoder(profile).Encode());
} catch (const std::bad_alloc&) {
  return Status(StatusCode::kResourceExhausted, "no memory to encode the profile");
} catch (const std::exception& error) {
  return Status(StatusCode::kInternal, error.what());
}

}  // namespace heldby
