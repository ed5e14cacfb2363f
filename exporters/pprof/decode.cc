#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <protozero/pbf_message.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporters/pprof/decode_parts.h"
#include "exporters/pprof/gzip.h"
#include "exporters/pprof/wire.h"
#include "heldby/profile.h"
#include "profile/text.h"
#include "profile/validate.h"

namespace heldby {
namespace {

constexpr std::size_t kMaxUnpackedBytes = std::size_t{256} << 20;

// On the wire a string is an index: ten thousand labels can name one string of a megabyte, and
// an empty message of two bytes becomes a struct of seventy. What the result may take in memory
// is therefore bounded by itself.
constexpr std::size_t kMaxDecodedBytes = std::size_t{512} << 20;
constexpr std::size_t kIdBytes = 32;  // an entry of IdMap, with the spare room of its table

// Two passes, because fields come in any order and the strings usually last: the first collects
// strings and ids, the second can then build every value at once.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}

  Profile Decode() {
    Pass(&Decoder::CollectField);
    if (strings_.empty() || !strings_[0].empty()) {
      throw Malformed("the string table does not begin with \"\"");
    }
    Pass(&Decoder::ReadField);
    return std::move(profile_);
  }

  /// Of the field being read: where to look in the file.
  std::size_t offset() const { return offset_; }

 private:
  void Pass(void (Decoder::*read)(Reader<wire::Profile>*));
  void CollectField(Reader<wire::Profile>* in);
  void ReadField(Reader<wire::Profile>* in);
  void ReadHeaderField(Reader<wire::Profile>* in);

  ValueType ReadValueType(Reader<wire::ValueType> in);
  Sample ReadSample(Reader<wire::Sample> in);
  Label ReadLabel(Reader<wire::Label> in);
  Mapping ReadMapping(Reader<wire::Mapping> in);
  Location ReadLocation(Reader<wire::Location> in);
  Line ReadLine(Reader<wire::Line> in);
  Function ReadFunction(Reader<wire::Function> in);

  std::string Text(std::uint64_t index) {
    if (index >= strings_.size()) {
      throw Malformed(Concat("string ", index, " of ", strings_.size(), " does not exist"));
    }
    Charge(strings_[index].size());
    return std::string(strings_[index]);
  }

  void Charge(std::size_t size_bytes) {
    decoded_bytes_ += size_bytes;
    if (decoded_bytes_ > kMaxDecodedBytes) {
      throw TooLarge(
          Concat("the profile takes more than ", kMaxDecodedBytes, " bytes in memory"));
    }
  }

  template <typename T>
  void Append(std::vector<T>* table, T value) {
    Charge(sizeof(T));
    table->push_back(std::move(value));
  }

  std::string_view bytes_;
  std::size_t offset_ = 0;
  std::size_t decoded_bytes_ = 0;
  bool has_time_ = false;
  std::vector<std::string_view> strings_;
  IdMap mapping_ids_{"mapping"};
  IdMap location_ids_{"location"};
  IdMap function_ids_{"function"};
  Profile profile_;
};

void Decoder::Pass(void (Decoder::*read)(Reader<wire::Profile>*)) {
  Reader<wire::Profile> in(bytes_.data(), bytes_.size());
  offset_ = 0;
  while (in.next()) {
    (this->*read)(&in);
    offset_ = bytes_.size() - in.length();
  }
}

void Decoder::CollectField(Reader<wire::Profile>* in) {
  switch (in->tag()) {
    case wire::Profile::kStringTable:
      Append(&strings_, AsView(in->get_view()));
      break;
    case wire::Profile::kMapping:
      Charge(kIdBytes);
      mapping_ids_.Add(IdOf(Reader<wire::Mapping>(in->get_view()), wire::Mapping::kId));
      break;
    case wire::Profile::kLocation:
      Charge(kIdBytes);
      location_ids_.Add(IdOf(Reader<wire::Location>(in->get_view()), wire::Location::kId));
      break;
    case wire::Profile::kFunction:
      Charge(kIdBytes);
      function_ids_.Add(IdOf(Reader<wire::Function>(in->get_view()), wire::Function::kId));
      break;
    default:
      in->skip();
  }
}

void Decoder::ReadField(Reader<wire::Profile>* in) {
  switch (in->tag()) {
    case wire::Profile::kSampleType:
      Append(&profile_.sample_types, ReadValueType(in->get_view()));
      break;
    case wire::Profile::kSample:
      Append(&profile_.samples, ReadSample(in->get_view()));
      break;
    case wire::Profile::kMapping:
      Append(&profile_.mappings, ReadMapping(in->get_view()));
      break;
    case wire::Profile::kLocation:
      Append(&profile_.locations, ReadLocation(in->get_view()));
      break;
    case wire::Profile::kFunction:
      Append(&profile_.functions, ReadFunction(in->get_view()));
      break;
    default:
      ReadHeaderField(in);
  }
}

void Decoder::ReadHeaderField(Reader<wire::Profile>* in) {
  switch (in->tag()) {
    case wire::Profile::kDropFrames:
      profile_.drop_frames = Text(in->get_uint64());
      break;
    case wire::Profile::kKeepFrames:
      profile_.keep_frames = Text(in->get_uint64());
      break;
    case wire::Profile::kTimeNanos:
      if (std::exchange(has_time_, true)) {
        throw Malformed("a second time stamp: two profiles glued together");
      }
      profile_.time_ns = in->get_int64();
      break;
    case wire::Profile::kDurationNanos:
      profile_.duration_ns = in->get_int64();
      break;
    case wire::Profile::kPeriodType:
      profile_.period_type = ReadValueType(in->get_view());
      break;
    case wire::Profile::kPeriod:
      profile_.period = in->get_int64();
      break;
    case wire::Profile::kComment:
      ReadNumbers(in, [this](std::uint64_t index) { Append(&profile_.comments, Text(index)); });
      break;
    case wire::Profile::kDefaultSampleType:
      profile_.default_sample_type = Text(in->get_uint64());
      break;
    case wire::Profile::kDocUrl:
      profile_.doc_url = Text(in->get_uint64());
      break;
    default:
      in->skip();
  }
}

ValueType Decoder::ReadValueType(Reader<wire::ValueType> in) {
  ValueType type;
  while (in.next()) {
    switch (in.tag()) {
      case wire::ValueType::kType:
        type.type = Text(in.get_uint64());
        break;
      case wire::ValueType::kUnit:
        type.unit = Text(in.get_uint64());
        break;
      default:
        in.skip();
    }
  }
  return type;
}

Sample Decoder::ReadSample(Reader<wire::Sample> in) {
  Sample sample;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Sample::kLocationId:
        ReadNumbers(&in, [&](std::uint64_t id) {
          Append(&sample.stack, LocationId{location_ids_.Get(id)});
        });
        break;
      case wire::Sample::kValue:
        ReadNumbers(&in, [&](std::uint64_t value) {
          Append(&sample.values, static_cast<std::int64_t>(value));
        });
        break;
      case wire::Sample::kLabel: {
        Label label = ReadLabel(in.get_view());
        // pprof drops these too: nothing tells them from an absent label.
        const bool says_nothing =
            label.text.empty() && label.number == 0 && label.number_unit.empty();
        if (!says_nothing) Append(&sample.labels, std::move(label));
        break;
      }
      default:
        in.skip();
    }
  }
  return sample;
}

Label Decoder::ReadLabel(Reader<wire::Label> in) {
  Label label;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Label::kKey:
        label.key = Text(in.get_uint64());
        break;
      case wire::Label::kStr:
        label.text = Text(in.get_uint64());
        break;
      case wire::Label::kNum:
        label.number = in.get_int64();
        break;
      case wire::Label::kNumUnit:
        label.number_unit = Text(in.get_uint64());
        break;
      default:
        in.skip();
    }
  }
  if (!label.text.empty()) {  // pprof looks at the number only when there is no text
    label.number = 0;
    label.number_unit.clear();
  }
  return label;
}

Mapping Decoder::ReadMapping(Reader<wire::Mapping> in) {
  Mapping mapping;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Mapping::kMemoryStart:
        mapping.start = in.get_uint64();
        break;
      case wire::Mapping::kMemoryLimit:
        mapping.limit = in.get_uint64();
        break;
      case wire::Mapping::kFileOffset:
        mapping.file_offset = in.get_uint64();
        break;
      case wire::Mapping::kFilename:
        mapping.filename = Text(in.get_uint64());
        break;
      case wire::Mapping::kBuildId:
        mapping.build_id = Text(in.get_uint64());
        break;
      // Not get_bool(): it looks at its byte before it asks whether there is one.
      case wire::Mapping::kHasFunctions:
        mapping.has_functions = in.get_uint64() != 0;
        break;
      case wire::Mapping::kHasFilenames:
        mapping.has_filenames = in.get_uint64() != 0;
        break;
      case wire::Mapping::kHasLineNumbers:
        mapping.has_line_numbers = in.get_uint64() != 0;
        break;
      case wire::Mapping::kHasInlineFrames:
        mapping.has_inline_frames = in.get_uint64() != 0;
        break;
      default:
        in.skip();
    }
  }
  return mapping;
}

Location Decoder::ReadLocation(Reader<wire::Location> in) {
  Location location;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Location::kMappingId:
        // An unknown mapping is none, as in pprof.
        location.mapping = MappingId{mapping_ids_.Find(in.get_uint64())};
        break;
      case wire::Location::kAddress:
        location.address = in.get_uint64();
        break;
      case wire::Location::kLine:
        Append(&location.lines, ReadLine(in.get_view()));
        break;
      default:
        in.skip();
    }
  }
  return location;
}

Line Decoder::ReadLine(Reader<wire::Line> in) {
  Line line;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Line::kFunctionId:
        line.function = FunctionId{function_ids_.Get(in.get_uint64())};
        break;
      case wire::Line::kLine:
        line.line = in.get_int64();
        break;
      default:
        in.skip();
    }
  }
  return line;
}

Function Decoder::ReadFunction(Reader<wire::Function> in) {
  Function function;
  while (in.next()) {
    switch (in.tag()) {
      case wire::Function::kName:
        function.name = Text(in.get_uint64());
        break;
      case wire::Function::kSystemName:
        function.system_name = Text(in.get_uint64());
        break;
      case wire::Function::kFilename:
        function.filename = Text(in.get_uint64());
        break;
      case wire::Function::kStartLine:
        function.start_line = in.get_int64();
        break;
      default:
        in.skip();
    }
  }
  return function;
}

Result<Profile> DecodeRaw(std::string_view bytes) {
  Decoder decoder(bytes);
  const auto at = [&](const char* what) {
    return Concat("field at byte ", decoder.offset(), " of ", bytes.size(), ": ", what);
  };
  try {
    Profile profile = decoder.Decode();
    if (Status status = ValidateFormat(profile); !status.ok()) {
      return Status(StatusCode::kDataLoss, status.message());
    }
    return profile;
  } catch (const TooLarge& error) {
    return Status(StatusCode::kResourceExhausted, at(error.what()));
  } catch (const Malformed& error) {
    return Status(StatusCode::kDataLoss, at(error.what()));
  } catch (const protozero::exception& error) {
    return Status(StatusCode::kDataLoss, at(error.what()));
  }
}

}  // namespace

Result<Profile> DecodePprof(std::string_view bytes) try {
  if (bytes.empty()) return Status(StatusCode::kDataLoss, "no bytes: not a profile");
  if (!IsGzip(bytes)) return DecodeRaw(bytes);
  Result<std::string> raw = Gunzip(bytes, kMaxUnpackedBytes);
  if (!raw.ok()) return raw.status();
  return DecodeRaw(*raw);
} catch (const std::bad_alloc&) {
  return Status(StatusCode::kResourceExhausted, "no memory to decode the profile");
} catch (const std::exception& error) {
  return Status(StatusCode::kInternal, error.what());
}

}  // namespace heldby
