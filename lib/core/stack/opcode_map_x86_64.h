// core/stack/opcode_map_x86_64.h - of the one-byte and the 0F opcodes: what follows them.
//
// Threads  any.   Allocates  never: constants.
// Source   Intel's manual, volume 2, appendix A.
#pragma once

#include <cstdint>

namespace heldby::core {

// One bit for each opcode of a map.
struct OpcodeSet {
  std::uint64_t bits[4] = {};

  constexpr OpcodeSet& Add(unsigned first, unsigned last) {
    for (unsigned op = first; op <= last; ++op) bits[op / 64] |= std::uint64_t{1} << op % 64;
    return *this;
  }
  constexpr OpcodeSet& Add(unsigned op) { return Add(op, op); }
  constexpr bool Has(unsigned op) const { return (bits[op / 64] >> op % 64 & 1) != 0; }
};

constexpr OpcodeSet OneByteModrm() {
  OpcodeSet set;
  for (unsigned row = 0; row < 0x40; row += 8) set.Add(row, row + 3);
  set.Add(0x63).Add(0x69).Add(0x6b).Add(0x80, 0x81).Add(0x83, 0x8f).Add(0xc0, 0xc1);
  set.Add(0xc6, 0xc7).Add(0xd0, 0xd3).Add(0xd8, 0xdf).Add(0xf6, 0xf7).Add(0xfe, 0xff);
  return set;
}
constexpr OpcodeSet OneByteImm8() {
  OpcodeSet set;
  for (unsigned row = 0; row < 0x40; row += 8) set.Add(row + 4);
  set.Add(0x6a, 0x6b).Add(0x70, 0x80).Add(0x83).Add(0xa8).Add(0xb0, 0xb7).Add(0xc0, 0xc1);
  set.Add(0xc6).Add(0xcd).Add(0xe0, 0xe7).Add(0xeb);
  return set;
}
// Two bytes with the operand size prefix, where that is heeded.
constexpr OpcodeSet OneByteImm32() {
  OpcodeSet set;
  for (unsigned row = 0; row < 0x40; row += 8) set.Add(row + 5);
  set.Add(0x68, 0x69).Add(0x81).Add(0xa9).Add(0xb8, 0xbf).Add(0xc7).Add(0xe8, 0xe9);
  return set;
}
constexpr OpcodeSet OneByteInvalid() {
  OpcodeSet set;
  for (unsigned row = 0; row < 0x20; row += 8) set.Add(row + 6, row + 7);
  set.Add(0x27).Add(0x2f).Add(0x37).Add(0x3f).Add(0x60, 0x61).Add(0x82).Add(0x9a).Add(0xce);
  set.Add(0xd4, 0xd6).Add(0xea);
  // Prefixes: here only behind a REX, which the processor then forgets.
  set.Add(0x26).Add(0x2e).Add(0x36).Add(0x3e).Add(0x40, 0x4f).Add(0x64, 0x67).Add(0xf0);
  set.Add(0xf2, 0xf3);
  return set;
}
// Of the map behind 0F.
constexpr OpcodeSet TwoByteBare() {
  OpcodeSet set;
  set.Add(0x05, 0x09).Add(0x0b).Add(0x0e).Add(0x30, 0x35).Add(0x37).Add(0x77);
  set.Add(0x80, 0x8f).Add(0xa0, 0xa2).Add(0xa8, 0xaa).Add(0xc8, 0xcf);
  return set;
}
constexpr OpcodeSet TwoByteImm8() {
  OpcodeSet set;
  set.Add(0x0f).Add(0x70, 0x73).Add(0xa4).Add(0xac).Add(0xba).Add(0xc2).Add(0xc4, 0xc6);
  return set;
}
constexpr OpcodeSet TwoByteInvalid() {
  OpcodeSet set;
  set.Add(0x04).Add(0x0a).Add(0x0c).Add(0x24, 0x27).Add(0x36).Add(0x39).Add(0x3b, 0x3f);
  set.Add(0x78, 0x7b).Add(0xa6, 0xa7);
  return set;
}
// What writes the register that ModRM's middle names, among those a compiler might ever use.
constexpr OpcodeSet TwoByteToRegister() {
  OpcodeSet set;
  return set.Add(0x40, 0x4f).Add(0xaf).Add(0xb6, 0xb8).Add(0xbc, 0xbf);
}

inline constexpr OpcodeSet kOneByteModrm = OneByteModrm();
inline constexpr OpcodeSet kOneByteImm8 = OneByteImm8();
inline constexpr OpcodeSet kOneByteImm32 = OneByteImm32();
inline constexpr OpcodeSet kOneByteInvalid = OneByteInvalid();
inline constexpr OpcodeSet kTwoByteBare = TwoByteBare();
inline constexpr OpcodeSet kTwoByteImm8 = TwoByteImm8();
inline constexpr OpcodeSet kTwoByteInvalid = TwoByteInvalid();
inline constexpr OpcodeSet kTwoByteToRegister = TwoByteToRegister();

}  // namespace heldby::core
