#include "symbolize/dwarf_lines.h"

#include <dwarf.h>
#include <elfutils/libdw.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace heldby::symbolize {
namespace {

constexpr int kMaxDepth = 256;  // of scopes: deeper is a loop in a broken file

using Addresses = std::span<const std::uint64_t>;

/// The addresses inside a die's ranges, as indices; empty if it has none.
std::vector<std::size_t> IndicesIn(Dwarf_Die* die, Addresses addresses) {
  std::vector<std::size_t> inside;
  Dwarf_Addr base = 0, start = 0, end = 0;
  std::ptrdiff_t at = 0;
  while ((at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
    auto first = std::lower_bound(addresses.begin(), addresses.end(), start);
    for (; first != addresses.end() && *first < end; ++first) {
      inside.push_back(static_cast<std::size_t>(first - addresses.begin()));
    }
  }
  return inside;
}

std::string AttributeText(Dwarf_Die* die, unsigned attribute) {
  Dwarf_Attribute found;
  const char* text = dwarf_formstring(dwarf_attr_integrate(die, attribute, &found));
  return text != nullptr ? text : "";
}

/// The die that stands in its scope: the declaration in the class, not the body at top level.
Dwarf_Die DeclarationOf(Dwarf_Die die) {
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    Dwarf_Attribute link;
    Dwarf_Die next;
    if ((dwarf_attr(&die, DW_AT_abstract_origin, &link) == nullptr &&
         dwarf_attr(&die, DW_AT_specification, &link) == nullptr) ||
        dwarf_formref_die(&link, &next) == nullptr) {
      break;
    }
    die = next;
  }
  return die;
}

std::string QualifiedName(Dwarf_Die* die, int depth = 0) {
  std::string name = AttributeText(die, DW_AT_name);
  Dwarf_Die declaration = DeclarationOf(*die);
  Dwarf_Die* scopes = nullptr;
  const int count = dwarf_getscopes_die(&declaration, &scopes);
  for (int i = 1; i < count; ++i) {
    const int tag = dwarf_tag(&scopes[i]);
    if (tag == DW_TAG_subprogram) {
      // A lambda or a local class: which function it is in says most about it.
      constexpr int kMaxNesting = 8;
      const std::string outer = depth < kMaxNesting ? QualifiedName(&scopes[i], depth + 1)
                                                    : AttributeText(&scopes[i], DW_AT_name);
      name.insert(0, "::").insert(0, outer);
      break;
    }
    if (tag != DW_TAG_namespace && tag != DW_TAG_class_type && tag != DW_TAG_structure_type &&
        tag != DW_TAG_union_type) {
      continue;
    }
    const char* scope = dwarf_diename(&scopes[i]);
    const char* unnamed = tag == DW_TAG_namespace ? "(anonymous namespace)"
                          : name == "operator()"  ? "{lambda}"
                                                  : "(anonymous)";
    name.insert(0, "::").insert(0, scope != nullptr ? scope : unnamed);
  }
  std::free(scopes);
  return name;
}

bool IsC(Dwarf_Die* unit) {
  switch (dwarf_srclang(unit)) {
    case DW_LANG_C:
    case DW_LANG_C89:
    case DW_LANG_C99:
    case DW_LANG_C11:
      return true;
    default:
      return false;
  }
}

/// One compilation unit, read for all addresses in it at once.
class Unit {
 public:
  /// `tree` is the die with the functions: `unit` itself, or its split half.
  Unit(Dwarf_Die unit, Dwarf_Die tree, Addresses addresses)
      : unit_(unit), tree_(tree), addresses_(addresses), is_c_(IsC(&tree)) {}

  void Read(const std::vector<std::size_t>& wanted) {
    for (const std::size_t index : wanted) frames_[index];
    Walk(&tree_, 0, /*deep=*/false);
    // Member functions of local classes, lambdas' among them, stand inside the function around
    // them, which does not contain their code. Looking there means reading the whole unit.
    const bool all_found = std::all_of(frames_.begin(), frames_.end(),
                                       [](const auto& entry) { return !entry.second.empty(); });
    if (!all_found) Walk(&tree_, 0, /*deep=*/true);
    for (auto& [index, frames] : frames_) {
      if (frames.empty()) frames.emplace_back();
      Dwarf_Line* row = dwarf_getsrc_die(&unit_, addresses_[index]);
      if (row == nullptr) continue;
      int line = 0;
      if (dwarf_lineno(row, &line) == 0 && line > 0) {
        frames.front().line = static_cast<std::uint32_t>(line);
      }
      if (const char* file = dwarf_linesrc(row, nullptr, nullptr)) {
        frames.front().filename = file;
      }
    }
  }

  std::map<std::size_t, Frames>& frames() { return frames_; }

 private:
  // Finds the functions; what lies between them and the unit is namespaces and classes.
  void Walk(Dwarf_Die* parent, int depth, bool deep) {
    Dwarf_Die child;
    if (depth > kMaxDepth || dwarf_child(parent, &child) != 0) return;
    do {
      switch (dwarf_tag(&child)) {
        case DW_TAG_subprogram:
          for (const std::size_t index : IndicesIn(&child, addresses_)) {
            const auto it = frames_.find(index);
            if (it != frames_.end() && it->second.empty()) {
              it->second = FramesAt(&child, addresses_[index]);
            }
          }
          if (deep) Walk(&child, depth + 1, deep);
          break;
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
          if (deep) Walk(&child, depth + 1, deep);
          break;
        case DW_TAG_namespace:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
        case DW_TAG_module:
          Walk(&child, depth + 1, deep);
          break;
        default:
          break;
      }
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  Frames FramesAt(Dwarf_Die* function, std::uint64_t address) {
    Frames frames{Describe(function)};
    Dwarf_Die scope = *function;
    for (int depth = 0; depth < kMaxDepth && Enter(&scope, address); ++depth) {
      switch (dwarf_tag(&scope)) {
        case DW_TAG_inlined_subroutine:
          // Where the inlined one was called is the line of the one around it.
          DescribeCall(&scope, &frames.front());
          frames.insert(frames.begin(), Describe(&scope));
          break;
        case DW_TAG_subprogram:
          frames = {Describe(&scope)};
          break;  // nested, as in GNU C
        default:
          break;
      }
    }
    return frames;
  }

  // Moves to the child scope that contains the address.
  static bool Enter(Dwarf_Die* scope, std::uint64_t address) {
    Dwarf_Die child;
    if (dwarf_child(scope, &child) != 0) return false;
    do {
      const int tag = dwarf_tag(&child);
      if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
           tag == DW_TAG_subprogram || tag == DW_TAG_try_block || tag == DW_TAG_catch_block) &&
          dwarf_haspc(&child, address) == 1) {
        *scope = child;
        return true;
      }
    } while (dwarf_siblingof(&child, &child) == 0);
    return false;
  }

  void DescribeCall(Dwarf_Die* inlined, Frame* around) {
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &value) == 0) {
      around->line = static_cast<std::uint32_t>(value);
    }
    if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &value) == 0) {
      Dwarf_Files* files = nullptr;
      std::size_t count = 0;
      if (dwarf_getsrcfiles(&tree_, &files, &count) == 0 && value < count) {
        if (const char* name = dwarf_filesrc(files, value, nullptr, nullptr)) {
          around->filename = name;
        }
      }
    }
  }

  Frame Describe(Dwarf_Die* die) {
    // Many addresses share few functions, and finding a scope walks the unit.
    const Dwarf_Off key = dwarf_dieoffset(die);
    if (const auto it = known_.find(key); it != known_.end()) return it->second;
    Frame frame;
    frame.system_name = AttributeText(die, DW_AT_linkage_name);
    if (frame.system_name.empty()) {
      frame.system_name = AttributeText(die, DW_AT_MIPS_linkage_name);
    }
    if (frame.system_name.empty()) {
      frame.name = is_c_ ? AttributeText(die, DW_AT_name) : QualifiedName(die);
    }
    int line = 0;
    Dwarf_Die declaration = DeclarationOf(*die);
    if (dwarf_decl_line(die, &line) != 0) dwarf_decl_line(&declaration, &line);
    frame.start_line = line > 0 ? static_cast<std::uint32_t>(line) : 0;
    return known_[key] = frame;
  }

  Dwarf_Die unit_;
  Dwarf_Die tree_;
  Addresses addresses_;
  bool is_c_;
  std::map<std::size_t, Frames> frames_;
  std::map<Dwarf_Off, Frame> known_;
};

}  // namespace

void ReadLines(int file_fd, int debug_fd, Addresses addresses,
               const std::function<void(std::size_t, Frames)>& take) {
  Dwarf* dwarf = dwarf_begin(debug_fd >= 0 ? debug_fd : file_fd, DWARF_C_READ);
  if (dwarf == nullptr) return;
  Dwarf_CU* cu = nullptr;
  Dwarf_Die die, split;
  std::uint8_t type = 0;
  while (dwarf_get_units(dwarf, cu, &cu, nullptr, &type, &die, &split) == 0) {
    const std::vector<std::size_t> wanted = IndicesIn(&die, addresses);
    if (wanted.empty()) continue;
    const bool is_split = type == DW_UT_skeleton && split.addr != nullptr;
    Unit unit(die, is_split ? split : die, addresses);
    unit.Read(wanted);
    for (auto& [index, frames] : unit.frames()) take(index, std::move(frames));
  }
  dwarf_end(dwarf);
}

}  // namespace heldby::symbolize
