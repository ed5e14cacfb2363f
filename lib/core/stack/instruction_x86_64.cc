#include "core/stack/instruction_x86_64.h"

#include <cstring>

#include "core/stack/opcode_map_x86_64.h"

namespace heldby::core {
namespace {

using Kind = Instruction::Kind;

constexpr unsigned kRsp = 4;  // as ModRM numbers them
constexpr unsigned kRbp = 5;

class Decoder {
 public:
  Decoder(const std::uint8_t* bytes, std::size_t size)
      : begin_(bytes),
        at_(bytes),
        end_(bytes + (size < kMaxInstructionBytes ? size : kMaxInstructionBytes)) {}

  bool Decode(Instruction* out) {
    if (!Prefixes()) return false;
    const unsigned op = Byte();
    bool understood = false;
    if (op == 0x0f) {
      understood = Escaped();
    } else if (op == 0xc4 || op == 0xc5 || op == 0x62) {
      understood = rex_ == 0 && Vector(op);
    } else {
      understood = OneByte(op);
    }
    if (!understood || overrun_) return false;
    result_.length = static_cast<std::uint8_t>(at_ - begin_);
    *out = result_;
    return true;
  }

 private:
  unsigned Byte() {
    if (at_ == end_) {
      overrun_ = true;
      return 0;
    }
    return *at_++;
  }
  std::int32_t Signed(unsigned bytes) {
    std::int32_t value = 0;
    if (static_cast<std::size_t>(end_ - at_) < bytes) {
      overrun_ = true;
      return 0;
    }
    if (bytes == 1) {
      value = static_cast<std::int8_t>(*at_);
    } else {
      std::memcpy(&value, at_, bytes < 4 ? bytes : 4);
    }
    at_ += bytes;
    return value;
  }

  // True: an opcode follows.
  bool Prefixes() {
    while (at_ != end_) {
      const unsigned byte = *at_;
      if (byte == 0x66) {
        small_ = true;
      } else if (byte == 0x67) {
        short_address_ = true;
      } else if (byte != 0xf0 && byte != 0xf2 && byte != 0xf3 && byte != 0x2e && byte != 0x36 &&
                 byte != 0x3e && byte != 0x26 && byte != 0x64 && byte != 0x65) {
        if (byte >> 4 == 4) {
          rex_ = byte;
          ++at_;
        }
        return at_ != end_;
      }
      ++at_;
    }
    return false;
  }

  bool wide() const { return (rex_ & 8) != 0; }

  // Reads ModRM, SIB and displacement.
  void Modrm() {
    const unsigned byte = Byte();
    mod_ = byte >> 6;
    reg_ = (byte >> 3 & 7) | (rex_ & 4) << 1;
    rm_ = (byte & 7) | (rex_ & 1) << 3;
    extension_ = byte >> 3 & 7;
    if (mod_ == 3) return;
    unsigned displacement = mod_ == 1 ? 1 : mod_ == 2 ? 4 : 0;
    if ((byte & 7) == 4) {
      sib_ = Byte();
      if (mod_ == 0 && (sib_ & 7) == 5) displacement = 4;
    } else if (mod_ == 0 && (byte & 7) == 5) {
      displacement = 4;
      rip_relative_ = true;
    }
    displacement_ = displacement == 0 ? 0 : Signed(displacement);
  }
  bool IsRegister(unsigned number) const { return mod_ == 3 && rm_ == number; }

  std::int32_t Immediate32() { return Signed(small_ && !wide() ? 2 : 4); }

  void Is(Kind kind, std::int32_t value = 0) {
    result_.kind = kind;
    result_.value = value;
  }
  // A push or pop of 16 bits is nobody's.
  void Moves(std::int32_t bytes) {
    small_ ? Is(Kind::kStackLost) : Is(Kind::kMovesStack, bytes);
  }
  void LostIf(bool lost) {
    if (lost) Is(Kind::kStackLost);
  }

  bool OneByte(unsigned op) {
    if (kOneByteInvalid.Has(op)) return false;
    if (kOneByteModrm.Has(op)) return WithModrm(op);
    std::int32_t immediate = 0;
    if (kOneByteImm8.Has(op)) {
      immediate = Signed(1);
    } else if (op == 0xe8 || op == 0xe9) {
      immediate = Signed(4);  // 66 is ignored here
    } else if (op >= 0xb8 && op <= 0xbf && wide()) {
      Signed(8);
    } else if (kOneByteImm32.Has(op)) {
      immediate = Immediate32();
    } else if (op >= 0xa0 && op <= 0xa3) {
      Signed(short_address_ ? 4 : 8);
    } else if (op == 0xc2 || op == 0xca) {
      Signed(2);
    } else if (op == 0xc8) {
      Signed(3);
    }
    switch (op) {
      case 0x68:
      case 0x6a:
      case 0x9c:  // pushf
        Moves(-8);
        return true;
      case 0x9d:
        Moves(8);
        return true;
      case 0xc2:
      case 0xc3:
      case 0xca:
      case 0xcb:
      case 0xcf:
      case 0xf4:
        Is(Kind::kStop);
        return true;
      case 0xc8:
        Is(Kind::kStackLost);
        return true;
      case 0xc9:
        Is(Kind::kStackByFrame, 8);
        return true;
      case 0xe8:
        Is(Kind::kCall, immediate);
        return true;
      case 0xe9:
      case 0xeb:
        Is(Kind::kJump, immediate);
        return true;
      default:
        break;
    }
    if (op >> 4 == 5) {
      Moves(op < 0x58 ? -8 : 8);
      LostIf(op == 0x58 + kRsp && (rex_ & 1) == 0);
    } else if (op >> 4 == 7 || (op >= 0xe0 && op <= 0xe3)) {
      Is(Kind::kConditional, immediate);
    } else {
      // xchg with rax, mov of a constant
      LostIf((op == 0x90 + kRsp || op == 0xb8 + kRsp) && (rex_ & 1) == 0);
    }
    return true;
  }

  bool WithModrm(unsigned op) {
    Modrm();
    std::int32_t immediate = 0;
    if (op == 0x8f && extension_ != 0) return false;  // AMD's XOP
    if (kOneByteImm8.Has(op) || (op == 0xf6 && extension_ < 2)) {
      immediate = Signed(1);
    } else if (kOneByteImm32.Has(op) || (op == 0xf7 && extension_ < 2)) {
      immediate = Immediate32();
    }
    switch (op) {
      case 0x81:
      case 0x83:
        ToStackByConstant(immediate);
        return true;
      case 0x8d:
        LoadsAddress();
        return true;
      case 0x89:
        LostIf(IsRegister(kRsp));
        if (IsRegister(kRsp) && reg_ == kRbp && wide()) Is(Kind::kStackByFrame);
        return true;
      case 0x8b:
        LostIf(reg_ == kRsp);
        if (IsRegister(kRbp) && reg_ == kRsp && wide()) Is(Kind::kStackByFrame);
        return true;
      case 0x8f:
        Moves(8);
        LostIf(IsRegister(kRsp));
        return true;
      case 0xff:
        Group5();
        return extension_ != 7;
      case 0xc7:
        LostIf(IsRegister(kRsp) || (mod_ == 3 && extension_ == 7));  // xbegin
        return true;
      case 0x63:
      case 0x69:
      case 0x6b:
        LostIf(reg_ == kRsp);
        return true;
      case 0xc1:
      case 0xd1:
      case 0xd3:
      case 0xf7:
        LostIf(IsRegister(kRsp));
        return true;
      case 0x87:
        LostIf(IsRegister(kRsp) || reg_ == kRsp);
        return true;
      default:
        // Arithmetic on whole registers, to the operand that bit 1 says. A compare is how a
        // loop that takes the stack page by page finds its end.
        if (op < 0x40 && (op & 1) != 0) {
          const bool compares = op >> 3 == 7;
          LostIf(((op & 2) == 0 || compares) && IsRegister(kRsp));
          LostIf(((op & 2) != 0 || compares) && reg_ == kRsp);
        }
        return true;
    }
  }

  void ToStackByConstant(std::int32_t immediate) {
    if (!IsRegister(kRsp)) return;
    Is(Kind::kStackLost);
    if (!wide() || immediate == INT32_MIN) return;
    if (extension_ == 0) Is(Kind::kMovesStack, immediate);
    if (extension_ == 5) Is(Kind::kMovesStack, -immediate);
  }

  void LoadsAddress() {
    if (reg_ != kRsp) return;
    Is(Kind::kStackLost);
    if (!wide() || short_address_ || rip_relative_ || mod_ == 3 || (rex_ & 3) != 0) return;
    if (rm_ == kRsp && sib_ == 0x24) Is(Kind::kMovesStack, displacement_);
    if (rm_ == kRbp && mod_ != 0) Is(Kind::kStackByFrame, displacement_);
  }

  void Group5() {
    result_.rip_relative = mod_ == 0 && rip_relative_ && !short_address_;
    switch (extension_) {
      case 2:
      case 3:
        Is(Kind::kIndirectCall, displacement_);
        break;
      case 4:
      case 5:
        Is(Kind::kIndirectJump, displacement_);
        break;
      case 6:
        Moves(-8);
        break;
      default:
        LostIf(IsRegister(kRsp));
    }
  }

  bool Escaped() {
    const unsigned op = Byte();
    if (op == 0x38 || op == 0x3a) {
      Byte();
      Modrm();
      if (op == 0x3a) Signed(1);
      return true;
    }
    if (kTwoByteInvalid.Has(op)) return false;
    if (!kTwoByteBare.Has(op)) {
      Modrm();
      if (kTwoByteImm8.Has(op)) Signed(1);
      LostIf(kTwoByteToRegister.Has(op) && reg_ == kRsp);
      return true;
    }
    if (op >> 4 == 8) {
      Is(Kind::kConditional, Signed(4));
    } else if (op == 0x0b || op == 0x07) {  // ud2, sysret
      Is(Kind::kStop);
    } else if (op == 0xa0 || op == 0xa8) {  // push and pop of fs and gs
      Moves(-8);
    } else if (op == 0xa1 || op == 0xa9) {
      Moves(8);
    }
    return true;
  }

  // VEX and EVEX. None of them is ever given rsp to change.
  bool Vector(unsigned op) {
    unsigned map = 1;
    if (op == 0xc5) {
      Byte();
    } else if (op == 0xc4) {
      map = Byte() & 0x1f;
      Byte();
    } else {
      map = Byte() & 7;
      Byte();
      Byte();
    }
    const bool evex = op == 0x62;
    if (map == 0 || map > (evex ? 6u : 3u) || map == 4) return false;
    const unsigned opcode = Byte();
    if (map == 1 && opcode == 0x77 && !evex) return true;  // vzeroupper
    Modrm();
    if (map == 3 || (map == 1 && kTwoByteImm8.Has(opcode))) Signed(1);
    return true;
  }

  const std::uint8_t* const begin_;
  const std::uint8_t* at_;
  const std::uint8_t* const end_;
  bool overrun_ = false;
  bool small_ = false;  // 66
  bool short_address_ = false;
  bool rip_relative_ = false;
  unsigned rex_ = 0;
  unsigned mod_ = 0;
  unsigned reg_ = 0;
  unsigned rm_ = 0;
  unsigned extension_ = 0;
  unsigned sib_ = 0;
  std::int32_t displacement_ = 0;
  Instruction result_;
};

}  // namespace

bool DecodeInstruction(const std::uint8_t* bytes, std::size_t size, Instruction* instruction) {
  return Decoder(bytes, size).Decode(instruction);
}

bool EndsWithIndirectCall(const std::uint8_t* before) {
  // FF /2, by the addressing that its length implies: register or [register]; disp8 or SIB;
  // SIB and disp8; disp32 or rip-relative; SIB and disp32.
  const auto indirect = [before](int length, int mode, int register_field) {
    const std::uint8_t modrm = before[8 - length + 1];
    return before[8 - length] == 0xff && (modrm >> 3 & 7) == 2 && modrm >> 6 == mode &&
           (register_field < 0 || (modrm & 7) == register_field);
  };
  return indirect(2, 3, -1) || indirect(2, 0, -1) || indirect(3, 1, -1) || indirect(3, 0, 4) ||
         indirect(4, 1, 4) || indirect(6, 2, -1) || indirect(6, 0, 5) || indirect(7, 2, 4) ||
         indirect(7, 0, 4);
}

}  // namespace heldby::core
