#include "core/stack/cfi.h"

#include <dlfcn.h>
#include <string.h>

namespace heldby::core {
namespace {

// Pointer encodings of the LSB (DW_EH_PE_*).
enum : std::uint8_t {
  kAbsolute = 0x00,
  kUdata2 = 0x02,
  kUdata4 = 0x03,
  kUdata8 = 0x04,
  kSdata2 = 0x0a,
  kSdata4 = 0x0b,
  kSdata8 = 0x0c,
  kFormMask = 0x0f,
  kPcRelative = 0x10,
  kDataRelative = 0x30,
  kApplicationMask = 0x70,
  kIndirect = 0x80,
  kOmit = 0xff,
};

// A bounded reader: past its end every read gives 0 and `ok` stays false.
class Reader {
 public:
  Reader(const std::uint8_t* at, const std::uint8_t* end)
      : at_(at), end_(end), ok_(at <= end) {}

  bool ok() const { return ok_; }
  bool empty() const { return !ok_ || at_ >= end_; }
  const std::uint8_t* at() const { return at_; }
  void Skip(std::uint64_t size) { Take(size); }

  template <typename Integer>
  Integer Get() {
    Integer value = 0;
    if (const std::uint8_t* from = Take(sizeof(value))) memcpy(&value, from, sizeof(value));
    return value;
  }
  std::uint64_t Uleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = Get<std::uint8_t>();
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }
  std::int64_t Sleb() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = Get<std::uint8_t>();
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) {
        if ((byte & 0x40) != 0 && shift + 7 < 64) value |= ~std::uint64_t{0} << (shift + 7);
        return static_cast<std::int64_t>(value);
      }
    }
    ok_ = false;
    return 0;
  }
  /// A pointer in `encoding`; without its base if `relative` is false (a length).
  std::uint64_t Encoded(std::uint8_t encoding, bool relative) {
    const auto here = reinterpret_cast<std::uintptr_t>(at_);
    std::uint64_t value = 0;
    switch (encoding & kFormMask) {
      case kAbsolute:
      case kUdata8:
      case kSdata8:
        value = Get<std::uint64_t>();
        break;
      case kUdata2:
        value = Get<std::uint16_t>();
        break;
      case kUdata4:
        value = Get<std::uint32_t>();
        break;
      case kSdata2:
        value = static_cast<std::uint64_t>(std::int64_t{Get<std::int16_t>()});
        break;
      case kSdata4:
        value = static_cast<std::uint64_t>(std::int64_t{Get<std::int32_t>()});
        break;
      default:
        ok_ = false;
        return 0;
    }
    if (!relative) return value;
    if ((encoding & kIndirect) != 0) ok_ = false;
    if ((encoding & kApplicationMask) == kPcRelative) return here + value;
    if ((encoding & kApplicationMask) != kAbsolute) ok_ = false;
    return value;
  }

 private:
  const std::uint8_t* Take(std::uint64_t size) {
    if (!ok_ || size > static_cast<std::uint64_t>(end_ - at_)) {
      ok_ = false;
      return nullptr;
    }
    const std::uint8_t* from = at_;
    at_ += size;
    return from;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool ok_;
};

struct Entry {  // an FDE and its CIE, as far as unwinding needs them
  std::uintptr_t pc_begin = 0;
  std::uint64_t pc_size = 0;
  std::uint64_t code_align = 1;
  std::int64_t data_align = 1;
  std::uint64_t return_register = 0;
  bool signal_frame = false;
  const std::uint8_t* initial = nullptr;  // the CIE's instructions
  const std::uint8_t* initial_end = nullptr;
  const std::uint8_t* program = nullptr;  // the FDE's
  const std::uint8_t* program_end = nullptr;
};

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

struct Row {
  Rule rule;  // kind, cfa_offset, expression
  std::int64_t frame_offset = 0;
  bool frame_saved = false;
  bool frame_lost = false;  // saved in a way that this does not follow
  bool return_undefined = false;
  std::int64_t return_offset = -8;
  bool return_elsewhere = false;
};

// Runs call-frame instructions until `pc` is passed.
class Interpreter {
 public:
  Interpreter(const Entry& entry, const CfiRegisters& registers, std::uintptr_t pc)
      : entry_(entry), registers_(registers), pc_(pc), location_(entry.pc_begin) {}

  bool Run(Row* row) {
    if (!RunProgram(entry_.initial, entry_.initial_end)) return false;
    initial_ = row_;
    if (!RunProgram(entry_.program, entry_.program_end)) return false;
    *row = row_;
    return true;
  }

 private:
  static constexpr int kMaxRemembered = 8;

  bool RunProgram(const std::uint8_t* from, const std::uint8_t* to) {
    Reader reader(from, to);
    while (!reader.empty()) {
      const auto op = reader.Get<std::uint8_t>();
      const unsigned operand = op & 0x3f;
      switch (op >> 6) {
        case 1:
          if (Advance(operand)) return true;
          break;
        case 2:
          Saved(operand, static_cast<std::int64_t>(reader.Uleb()) * entry_.data_align);
          break;
        case 3:
          Restore(operand);
          break;
        default:
          bool passed = false;
          if (!Extended(op, reader, &passed)) return false;
          if (passed) return reader.ok();
      }
    }
    return reader.ok();
  }

  // True: the row that holds at pc_ is complete.
  bool Advance(std::uint64_t delta) {
    location_ += delta * entry_.code_align;
    return location_ > pc_;
  }

  void Saved(std::uint64_t reg, std::int64_t offset) {
    if (reg == registers_.frame_pointer) {
      row_.frame_saved = true;
      row_.frame_lost = false;
      row_.frame_offset = offset;
      row_.rule.frame_expression = {};
    } else if (reg == registers_.return_address) {
      row_.return_undefined = false;
      row_.return_elsewhere = false;
      row_.return_offset = offset;
    }
  }
  void Lost(std::uint64_t reg) {
    if (reg == registers_.frame_pointer) row_.frame_lost = true;
    if (reg == registers_.return_address) row_.return_elsewhere = true;
  }
  void Restore(std::uint64_t reg) {
    if (reg == registers_.frame_pointer) {
      row_.rule.frame_expression = initial_.rule.frame_expression;
      row_.frame_saved = initial_.frame_saved;
      row_.frame_lost = initial_.frame_lost;
      row_.frame_offset = initial_.frame_offset;
    } else if (reg == registers_.return_address) {
      row_.return_undefined = initial_.return_undefined;
      row_.return_offset = initial_.return_offset;
      row_.return_elsewhere = initial_.return_elsewhere;
    }
  }
  void Cfa(std::uint64_t reg, std::int64_t offset) {
    row_.rule.kind = reg == registers_.stack_pointer   ? Rule::Kind::kStackPlus
                     : reg == registers_.frame_pointer ? Rule::Kind::kFramePlus
                                                       : Rule::Kind::kUnknown;
    CfaOffset(offset);
  }
  void CfaOffset(std::int64_t offset) {
    row_.rule.cfa_offset = static_cast<std::int32_t>(offset);
    if (row_.rule.cfa_offset != offset) row_.rule.kind = Rule::Kind::kUnknown;
  }
  static Bytes Expression(Reader& reader) {
    const std::uint64_t size = reader.Uleb();
    const Bytes bytes{reader.at(), static_cast<std::uint32_t>(size)};
    reader.Skip(size);
    return bytes;
  }

  // DW_CFA_* with the two high bits clear. False: not understood.
  bool Extended(std::uint8_t op, Reader& reader, bool* passed) {
    const auto scaled = [this](std::int64_t factor) { return factor * entry_.data_align; };
    std::uint64_t reg = 0;
    switch (op) {
      case 0x00:
        return true;  // nop
      case 0x01:      // set_loc: absolute, not seen in .eh_frame
        return false;
      case 0x02:
        *passed = Advance(reader.Get<std::uint8_t>());
        return true;
      case 0x03:
        *passed = Advance(reader.Get<std::uint16_t>());
        return true;
      case 0x04:
        *passed = Advance(reader.Get<std::uint32_t>());
        return true;
      case 0x05:  // offset_extended
        reg = reader.Uleb();
        Saved(reg, scaled(static_cast<std::int64_t>(reader.Uleb())));
        return true;
      case 0x06:
        Restore(reader.Uleb());
        return true;
      case 0x07:  // undefined
        reg = reader.Uleb();
        if (reg == registers_.return_address) row_.return_undefined = true;
        if (reg == registers_.frame_pointer) row_.frame_lost = true;
        return true;
      case 0x08:  // same_value
        if (reader.Uleb() == registers_.frame_pointer) {
          row_.frame_saved = row_.frame_lost = false;
          row_.rule.frame_expression = {};
        }
        return true;
      case 0x09:  // register
        Lost(reader.Uleb());
        reader.Uleb();
        return true;
      case 0x0a:
        if (remembered_ == kMaxRemembered) return false;
        stack_[remembered_++] = row_;
        return true;
      case 0x0b:
        if (remembered_ == 0) return false;
        row_ = stack_[--remembered_];
        return true;
      case 0x0c:  // def_cfa
        reg = reader.Uleb();
        Cfa(reg, static_cast<std::int64_t>(reader.Uleb()));
        return true;
      case 0x0d:
        Cfa(reader.Uleb(), row_.rule.cfa_offset);
        return true;
      case 0x0e:
        CfaOffset(static_cast<std::int64_t>(reader.Uleb()));
        return true;
      case 0x0f:  // def_cfa_expression
        row_.rule.kind = Rule::Kind::kExpression;
        row_.rule.cfa_expression = Expression(reader);
        return true;
      case 0x10:  // expression: functions that realign their stack save registers this way
        reg = reader.Uleb();
        Lost(reg);
        if (reg == registers_.frame_pointer) {
          row_.rule.frame_expression = Expression(reader);
          row_.frame_lost = false;
        } else {
          Expression(reader);
        }
        return true;
      case 0x16:  // val_expression
        Lost(reader.Uleb());
        Expression(reader);
        return true;
      case 0x11:  // offset_extended_sf
        reg = reader.Uleb();
        Saved(reg, scaled(reader.Sleb()));
        return true;
      case 0x12:  // def_cfa_sf
        reg = reader.Uleb();
        Cfa(reg, scaled(reader.Sleb()));
        return true;
      case 0x13:
        CfaOffset(scaled(reader.Sleb()));
        return true;
      case 0x14:  // val_offset
      case 0x15:
        Lost(reader.Uleb());
        reader.Uleb();
        return true;
      case 0x2e:
        reader.Uleb();
        return true;  // GNU_args_size
      default:
        return false;
    }
  }

  const Entry& entry_;
  const CfiRegisters& registers_;
  const std::uintptr_t pc_;
  std::uintptr_t location_;
  Row row_;
  Row initial_;
  Row stack_[kMaxRemembered];
  int remembered_ = 0;
};

}  // namespace

bool FindModule(std::uintptr_t pc, Module* module) {
  dl_find_object found;
  if (_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0 ||
      found.dlfo_eh_frame == nullptr) {
    return false;
  }
  module->begin = static_cast<const std::uint8_t*>(found.dlfo_map_start);
  module->end = static_cast<const std::uint8_t*>(found.dlfo_map_end);
  module->eh_frame_hdr = static_cast<const std::uint8_t*>(found.dlfo_eh_frame);
  return module->eh_frame_hdr >= module->begin && module->eh_frame_hdr < module->end;
}

Rule FindRule(const Module& module, std::uintptr_t pc, const CfiRegisters& registers) {
  Entry entry;
  if (!ReadEntry(module, pc, &entry)) return {};
  const auto rule_of = [](Rule::Kind kind) {
    Rule rule;
    rule.kind = kind;
    return rule;
  };
  if (entry.signal_frame) return rule_of(Rule::Kind::kSignalFrame);
  if (entry.return_register != registers.return_address) return {};
  Row row;
  if (!Interpreter(entry, registers, pc).Run(&row)) return {};
  if (row.return_undefined) return rule_of(Rule::Kind::kEnd);
  if (row.return_elsewhere || row.return_offset != -8 || row.frame_lost) return {};
  Rule rule = row.rule;
  if (row.frame_saved) rule.frame_saved_at = static_cast<std::int32_t>(row.frame_offset);
  return rule;
}

}  // namespace heldby::core
