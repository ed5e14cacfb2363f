#include "profile/builder.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <tuple>
#include <utility>

#include "profile/arithmetic.h"

namespace heldby {

ProfileBuilder::ProfileBuilder(std::vector<ValueType> sample_types) {
  header_.sample_types = std::move(sample_types);
}

MappingId ProfileBuilder::AddMapping(Mapping mapping) {
  return MappingId{mappings_.Intern(std::move(mapping))};
}

FunctionId ProfileBuilder::AddFunction(Function function) {
  return FunctionId{functions_.Intern(std::move(function))};
}

FunctionId ProfileBuilder::AddFunction(std::string name) {
  Function function;
  function.system_name = name;
  function.name = std::move(name);
  return AddFunction(std::move(function));
}

LocationId ProfileBuilder::AddLocation(MappingId mapping, std::uint64_t address,
                                       std::vector<Line> lines) {
  return LocationId{locations_.Intern({mapping, address, std::move(lines)})};
}

void ProfileBuilder::AddSample(std::vector<LocationId> stack,
                               absl::Span<const std::int64_t> values,
                               std::vector<Label> labels) {
  assert(values.size() == header_.sample_types.size());
  // One label set, one order: otherwise {a,b} and {b,a} would stay two samples.
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) {
    return std::tie(a.key, a.text, a.number, a.number_unit) <
           std::tie(b.key, b.text, b.number, b.number_unit);
  });
  const std::uint32_t id = samples_.Intern({std::move(stack), {}, std::move(labels)});
  std::vector<std::int64_t>& sums = samples_.at(id).values;
  sums.resize(header_.sample_types.size());
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = SaturatingAdd(sums[i], values[i]);
}

Profile ProfileBuilder::Build() && {
  Profile profile = std::move(header_);
  profile.mappings = mappings_.Take();
  profile.functions = functions_.Take();
  profile.locations = locations_.Take();
  profile.samples = samples_.Take();
  return profile;
}

}  // namespace heldby
