#include "collect/stack_locations.h"

#include <algorithm>
#include <iterator>

namespace heldby::collect {
namespace {

// Synthetic frames lie in the first pages of the address space, which the kernel maps for
// nobody (vm.mmap_min_addr): every frame keeps an address of its own, as scrapers that identify
// frames by address need it, and none can be mistaken for code.
constexpr std::uint64_t kSyntheticStart = 0x1000;
constexpr std::uint64_t kSyntheticLimit = 0x2000;

// Code that is gone keeps its address, moved to where no address of a process can be; places
// of the source are beside it.
constexpr std::uint64_t kUnloadedStart = 0xffff000000000000;
constexpr std::uint64_t kUnloadedLimit = 0xffff800000000000;
constexpr std::uint64_t kPlacesLimit = 0xffff800100000000;

const char* NameOf(StackLocations::Synthetic what) {
  switch (what) {
    case StackLocations::Synthetic::kStackTableFull:
      return "[heldby: stack table full]";
    case StackLocations::Synthetic::kTruncated:
      return "[heldby: deeper frames cut]";
    case StackLocations::Synthetic::kNoStack:
      return "[heldby: no stack]";
  }
  return "";
}

}  // namespace

std::vector<LocationId> StackLocations::Of(const std::uintptr_t* frames,
                                           const std::uint16_t* modules, std::size_t depth,
                                           bool truncated) {
  std::vector<LocationId> stack;
  stack.reserve(depth + 1);
  for (std::size_t i = 0; i < depth; ++i) {
    const std::uintptr_t call = frames[i] - 1;
    stack.push_back(IsReplaced(call, modules[i])
                        ? Unloaded(call)
                        : builder_.AddLocation(MappingId::kNone, call));
  }
  if (truncated) stack.push_back(Of(Synthetic::kTruncated));
  return stack;
}

LocationId StackLocations::Of(Synthetic what) {
  const MappingId mapping = builder_.AddMapping({.start = kSyntheticStart,
                                                 .limit = kSyntheticLimit,
                                                 .filename = "[heldby]",
                                                 .has_functions = true});
  return builder_.AddLocation(mapping, static_cast<std::uint64_t>(what),
                              {{.function = builder_.AddFunction(NameOf(what))}});
}

LocationId StackLocations::OfPlace(std::uint32_t place_id, const std::string& function,
                                   const std::string& file, std::uint32_t line) {
  const MappingId mapping = builder_.AddMapping({.start = kUnloadedLimit,
                                                 .limit = kPlacesLimit,
                                                 .filename = "[places]",
                                                 .has_functions = true,
                                                 .has_filenames = true,
                                                 .has_line_numbers = true});
  return builder_.AddLocation(
      mapping, kUnloadedLimit + std::uint64_t{16} * place_id,
      {{.function = builder_.AddFunction(
            Function{.name = function, .system_name = function, .filename = file}),
        .line = line}});
}

// Another library has been loaded where this code was: its names would be a lie. (Where
// nothing is loaded now, the symbolizer may remember what was.)
bool StackLocations::IsReplaced(std::uintptr_t call, std::uint16_t module) {
  constexpr std::uintptr_t kPage = 4096;
  if (module == 0) return false;
  const auto holds = [call](const core::ModuleRange& range) {
    return range.begin <= call && call < range.end;
  };
  // A stack's neighbours are mostly of one module, a profile's of a few dozen.
  auto known = std::find_if(modules_.begin(), modules_.end(), holds);
  if (known == modules_.end()) {
    core::ModuleRange range{};
    if (!core_.describe_module_at(call, &range)) {
      range = {.begin = call / kPage * kPage, .end = call / kPage * kPage + kPage, .tag = 0};
    }
    modules_.push_back(range);
    known = modules_.end() - 1;
  }
  if (known != modules_.begin()) {
    std::iter_swap(known, modules_.begin());
    known = modules_.begin();
  }
  return known->tag != 0 && known->tag != module;
}

LocationId StackLocations::Unloaded(std::uintptr_t call) {
  const MappingId mapping = builder_.AddMapping({.start = kUnloadedStart,
                                                 .limit = kUnloadedLimit,
                                                 .filename = "[unloaded]",
                                                 .has_functions = true});
  return builder_.AddLocation(mapping, kUnloadedStart | call,
                              {{.function = builder_.AddFunction("[unloaded code]")}});
}

}  // namespace heldby::collect
