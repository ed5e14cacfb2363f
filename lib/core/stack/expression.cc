#include "core/stack/expression.h"

#include <string.h>

namespace heldby::core {
namespace {

class Machine {
 public:
  Machine(const Bytes& code, const ExpressionInput& input, const std::uint64_t* pushed)
      : at_(code.begin), end_(code.begin + code.size), input_(input) {
    if (pushed != nullptr) Push(*pushed);
  }

  bool Run(std::uint64_t* result) {
    for (int steps = 0; at_ < end_; ++steps) {
      if (steps == 64 || !Step(*at_++)) return false;
    }
    return Pop(result);
  }

 private:
  static constexpr int kDepth = 16;

  bool Push(std::uint64_t value) {
    if (depth_ == kDepth) return false;
    stack_[depth_++] = value;
    return true;
  }
  bool Pop(std::uint64_t* value) {
    if (depth_ == 0) return false;
    *value = stack_[--depth_];
    return true;
  }
  template <typename Integer>
  bool PushConstant() {
    Integer value;
    if (end_ - at_ < static_cast<std::ptrdiff_t>(sizeof(value))) return false;
    memcpy(&value, at_, sizeof(value));
    at_ += sizeof(value);
    return Push(static_cast<std::uint64_t>(static_cast<std::int64_t>(value)));
  }
  bool Leb(bool is_signed, std::uint64_t* value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && at_ < end_; shift += 7) {
      const std::uint8_t byte = *at_++;
      *value |= std::uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) != 0) continue;
      if (is_signed && (byte & 0x40) != 0 && shift + 7 < 64) {
        *value |= ~std::uint64_t{0} << (shift + 7);
      }
      return true;
    }
    return false;
  }
  bool RegisterPlus(unsigned number) {
    std::uint64_t value = 0;
    std::uint64_t offset = 0;
    return input_.read_register(input_.context, number, &value) && Leb(true, &offset) &&
           Push(value + offset);
  }
  bool Dereference() {
    std::uint64_t address = 0;
    std::uint64_t value = 0;
    return Pop(&address) && input_.read_memory(input_.context, address, &value) && Push(value);
  }
  bool PlusConstant() {
    std::uint64_t value = 0;
    std::uint64_t constant = 0;
    return Leb(false, &constant) && Pop(&value) && Push(value + constant);
  }
  bool Binary(std::uint8_t op) {
    std::uint64_t right = 0;
    std::uint64_t left = 0;
    if (!Pop(&right) || !Pop(&left)) return false;
    switch (op) {
      case 0x1a:
        return Push(left & right);
      case 0x1c:
        return Push(left - right);
      case 0x22:
        return Push(left + right);
      case 0x24:
        return Push(right < 64 ? left << right : 0);
      case 0x2a:
        return Push(static_cast<std::int64_t>(left) >= static_cast<std::int64_t>(right));
      default:
        return false;
    }
  }
  bool Step(std::uint8_t op) {
    if (op >= 0x30 && op <= 0x4f) return Push(op - 0x30u);          // lit0..31
    if (op >= 0x70 && op <= 0x8f) return RegisterPlus(op - 0x70u);  // breg0..31
    switch (op) {
      case 0x06:
        return Dereference();
      case 0x08:
        return PushConstant<std::uint8_t>();
      case 0x09:
        return PushConstant<std::int8_t>();
      case 0x0a:
        return PushConstant<std::uint16_t>();
      case 0x0b:
        return PushConstant<std::int16_t>();
      case 0x0c:
        return PushConstant<std::uint32_t>();
      case 0x0d:
        return PushConstant<std::int32_t>();
      case 0x23:
        return PlusConstant();
      default:
        return Binary(op);
    }
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  const ExpressionInput& input_;
  std::uint64_t stack_[kDepth];
  int depth_ = 0;
};

}  // namespace

bool Evaluate(const Bytes& expression, const ExpressionInput& input,
              const std::uint64_t* pushed, std::uint64_t* result) {
  return Machine(expression, input, pushed).Run(result);
}

}  // namespace heldby::core
