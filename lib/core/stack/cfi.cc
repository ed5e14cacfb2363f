#include "core/stack/cfi.h"

#include "core/stack/eh_frame.h"

namespace heldby::core {
namespace {

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
  Interpreter(const Entry& entry, const CfiRegisters& registers, std::uintptr_t pc,
              const RowVisitor* visitor = nullptr)
      : entry_(entry),
        registers_(registers),
        visitor_(visitor),
        pc_(pc),
        location_(entry.pc_begin) {}

  bool Run(Row* row) {
    if (!RunProgram(entry_.initial, entry_.initial_end)) return false;
    initial_ = row_;
    if (!RunProgram(entry_.program, entry_.program_end)) return false;
    *row = row_;
    return true;
  }
  std::uintptr_t location() const { return location_; }

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
    const std::uintptr_t begin = location_;
    location_ += delta * entry_.code_align;
    if (visitor_ != nullptr) visitor_->visit(visitor_->context, begin, location_, row_.rule);
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
    if (reg == registers_.frame_pointer) {
      row_.frame_lost = true;
      row_.rule.frame_expression = {};
    }
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
                     : reg < registers_.return_address ? Rule::Kind::kOtherPlus
                                                       : Rule::Kind::kUnknown;
    row_.rule.cfa_register = static_cast<std::uint8_t>(reg);
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
        if (reg == registers_.return_address) {
          row_.return_undefined = true;
        } else {
          Lost(reg);
        }
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
  const RowVisitor* const visitor_;
  const std::uintptr_t pc_;
  std::uintptr_t location_;
  Row row_;
  Row initial_;
  Row stack_[kMaxRemembered];
  int remembered_ = 0;
};

}  // namespace

bool VisitRows(const Entry& entry, const CfiRegisters& registers, const RowVisitor& visitor) {
  Row last;
  const std::uintptr_t end = entry.pc_begin + entry.pc_size;
  Interpreter interpreter(entry, registers, end, &visitor);
  if (!interpreter.Run(&last)) return false;
  if (interpreter.location() >= end) return interpreter.location() == end;
  visitor.visit(visitor.context, interpreter.location(), end, last.rule);
  return true;
}

Rule FindRule(const Module& module, std::uintptr_t pc, const CfiRegisters& registers) {
  Entry entry;
  if (!ReadEntry(module, pc, &entry)) return {};
  const auto rule_of = [](Rule::Kind kind) {
    Rule rule;
    rule.kind = kind;
    return rule;
  };
  Row row;
  const bool understood = entry.return_register == registers.return_address &&
                          Interpreter(entry, registers, pc).Run(&row);
  // The trampolines that the kernel's frame returns to give every register by expressions; a
  // frame that is only marked as one has an ordinary row.
  if (entry.signal_frame && (!understood || row.rule.kind == Rule::Kind::kExpression)) {
    return rule_of(Rule::Kind::kSignalFrame);
  }
  if (!understood) return rule_of(Rule::Kind::kInexpressible);
  if (row.return_undefined) return rule_of(Rule::Kind::kEnd);
  if (row.return_elsewhere || row.return_offset != -8 ||
      row.rule.kind == Rule::Kind::kUnknown) {
    return rule_of(Rule::Kind::kInexpressible);
  }
  Rule rule = row.rule;
  rule.exact_above = entry.signal_frame;
  if (row.frame_saved) rule.frame_saved_at = static_cast<std::int32_t>(row.frame_offset);
  // Saved at the CFA itself is nowhere a frame keeps anything, and 0 says "unchanged".
  if (row.frame_lost ||
      (row.frame_saved && (rule.frame_saved_at != row.frame_offset || row.frame_offset == 0))) {
    rule.frame_saved_at = Rule::kFrameLost;
  }
  return rule;
}

}  // namespace heldby::core
