#include "core/stack/eh_frame.h"

#include <string.h>

namespace heldby::core {
namespace {

// The table of .eh_frame_hdr: pairs of (function, FDE), both relative to the header, sorted.
const std::uint8_t* FindFde(const Module& module, std::uintptr_t pc) {
  const std::uint8_t* header = module.eh_frame_hdr;
  Reader reader(header, module.end);
  const auto version = reader.Get<std::uint8_t>();
  const auto frame_encoding = reader.Get<std::uint8_t>();
  const auto count_encoding = reader.Get<std::uint8_t>();
  const auto table_encoding = reader.Get<std::uint8_t>();
  if (version != 1 || count_encoding == kOmit || table_encoding != (kDataRelative | kSdata4)) {
    return nullptr;
  }
  reader.Encoded(frame_encoding, /*relative=*/true);
  const std::uint64_t count = reader.Encoded(count_encoding, /*relative=*/false);
  const std::uint8_t* table = reader.at();
  if (!reader.ok() || count == 0 ||
      count > static_cast<std::uint64_t>(module.end - table) / 8) {
    return nullptr;
  }
  const auto field = [table](std::uint64_t row, int column) {
    std::int32_t value;
    memcpy(&value, table + row * 8 + static_cast<unsigned>(column) * 4, sizeof(value));
    return value;
  };
  const auto wanted = static_cast<std::int64_t>(pc - reinterpret_cast<std::uintptr_t>(header));
  std::uint64_t low = 0;  // the last row that begins at or before pc is in [low, high)
  std::uint64_t high = count;
  if (field(0, 0) > wanted) return nullptr;
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (field(middle, 0) <= wanted ? low : high) = middle;
  }
  const std::uint8_t* fde = header + field(low, 1);
  return fde >= module.begin && fde < module.end ? fde : nullptr;
}

bool ReadCie(const Module& module, const std::uint8_t* at, Entry* entry, bool* has_data,
             std::uint8_t* pointer_encoding) {
  if (at < module.begin || at >= module.end) return false;
  Reader reader(at, module.end);
  const auto length = reader.Get<std::uint32_t>();
  if (length == 0 || length > static_cast<std::uint64_t>(module.end - reader.at()))
    return false;
  const std::uint8_t* end = reader.at() + length;
  reader = Reader(reader.at(), end);
  if (reader.Get<std::uint32_t>() != 0) return false;  // a CIE has id 0
  const auto version = reader.Get<std::uint8_t>();
  const char* augmentation = reinterpret_cast<const char*>(reader.at());
  while (reader.Get<std::uint8_t>() != 0) {
  }
  if (!reader.ok() || (version != 1 && version != 3)) return false;
  entry->code_align = reader.Uleb();
  entry->data_align = reader.Sleb();
  entry->return_register = version == 1 ? reader.Get<std::uint8_t>() : reader.Uleb();
  *pointer_encoding = kAbsolute;
  *has_data = augmentation[0] == 'z';
  if (*has_data) {
    const std::uint64_t data_size = reader.Uleb();
    if (!reader.ok() || data_size > static_cast<std::uint64_t>(end - reader.at())) return false;
    const std::uint8_t* after = reader.at() + data_size;
    for (const char* letter = augmentation + 1; *letter != '\0'; ++letter) {
      if (*letter == 'R') {
        *pointer_encoding = reader.Get<std::uint8_t>();
      } else if (*letter == 'S') {
        entry->signal_frame = true;
      } else if (*letter == 'L') {
        reader.Skip(1);
      } else if (*letter == 'P') {
        const auto encoding = reader.Get<std::uint8_t>();
        reader.Encoded(encoding, /*relative=*/false);
      } else {
        return false;
      }
    }
    if (!reader.ok()) return false;
    reader = Reader(after, end);
  } else if (augmentation[0] != '\0') {
    return false;
  }
  entry->initial = reader.at();
  entry->initial_end = end;
  return reader.ok();
}

}  // namespace

bool ReadEntry(const Module& module, std::uintptr_t pc, Entry* entry) {
  const std::uint8_t* fde = FindFde(module, pc);
  if (fde == nullptr) return false;
  Reader reader(fde, module.end);
  const auto length = reader.Get<std::uint32_t>();
  if (length < 4 || length > static_cast<std::uint64_t>(module.end - reader.at())) return false;
  const std::uint8_t* id_at = reader.at();
  reader = Reader(id_at, id_at + length);
  const auto cie_distance = reader.Get<std::uint32_t>();
  if (cie_distance == 0 || cie_distance > static_cast<std::uint64_t>(id_at - module.begin)) {
    return false;
  }
  bool has_data = false;
  std::uint8_t encoding = 0;
  if (!ReadCie(module, id_at - cie_distance, entry, &has_data, &encoding)) return false;
  entry->pc_begin = reader.Encoded(encoding, /*relative=*/true);
  entry->pc_size = reader.Encoded(encoding, /*relative=*/false);
  if (has_data) reader.Skip(reader.Uleb());
  entry->program = reader.at();
  entry->program_end = id_at + length;
  return reader.ok() && pc - entry->pc_begin < entry->pc_size;
}

}  // namespace heldby::core
