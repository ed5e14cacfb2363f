// core/stack/eh_frame.h - reading .eh_frame and .eh_frame_hdr: which entry covers an
// instruction.
//
// Threads  any.   Signals  safe.   Allocates  never.   Locks  none.
// Bounds   a Reader never leaves its range; past the end every read gives 0.
// Source   the LSB's description of .eh_frame; encodings are its DW_EH_PE_*.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/stack/cfi.h"

namespace heldby::core {

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
    if (const std::uint8_t* from = Take(sizeof(value)))
      std::memcpy(&value, from, sizeof(value));
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

/// An FDE and its CIE, as far as unwinding needs them.
struct Entry {
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

/// The entry that covers `pc`. False: none, or one that is not understood.
bool ReadEntry(const Module& module, std::uintptr_t pc, Entry* entry);

}  // namespace heldby::core
