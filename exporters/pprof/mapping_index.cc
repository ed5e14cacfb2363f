#include "exporters/pprof/mapping_index.h"

#include <algorithm>
#include <string>

namespace heldby::legacy {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

bool LooksLikeProgram(const Mapping& mapping) {
  const std::string& name = mapping.filename;
  return !name.empty() && name.front() != '[' && name.find(".so") == name.npos &&
         !name.starts_with("linux-vdso") && !name.starts_with("/anon_hugepage");
}

}  // namespace

void PutProgramFirst(std::vector<Mapping>* mappings) {
  const auto program = std::find_if(mappings->begin(), mappings->end(), LooksLikeProgram);
  if (program != mappings->end()) std::rotate(mappings->begin(), program, program + 1);
}

Mapping Unmapped() {
  Mapping unmapped;
  unmapped.limit = kNoLimit;
  unmapped.filename = "[unmapped]";
  return unmapped;
}

MappingIndex::MappingIndex(const std::vector<Mapping>& mappings, ProfileBuilder* builder) {
  for (const Mapping& mapping : mappings) {
    ranges_.push_back({mapping.start, mapping.limit, builder->AddMapping(mapping)});
  }
  std::stable_sort(ranges_.begin(), ranges_.end(),
                   [](const Range& a, const Range& b) { return a.start < b.start; });
}

MappingId MappingIndex::Find(std::uint64_t address) const {
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), address,
      [](std::uint64_t wanted, const Range& range) { return wanted < range.start; });
  if (after == ranges_.begin()) return MappingId::kNone;
  const Range& range = *--after;
  return address < range.limit ? range.id : MappingId::kNone;
}

}  // namespace heldby::legacy
