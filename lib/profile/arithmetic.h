// profile/arithmetic.h - sums and products of sample values that cannot overflow.
//
// Threads  any.
// Signals  safe.
// Units    whatever the column has; both operands the same.
// Source   values come from files too, and a hostile file must not reach undefined behaviour:
//          everything sticks at the ends of int64, where a reader sees that it is absurd.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace heldby {

[[nodiscard]] inline std::int64_t SaturatingAdd(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<std::int64_t>::min()
               : std::numeric_limits<std::int64_t>::max();
}

[[nodiscard]] inline std::int64_t SaturatingNegate(std::int64_t value) {
  return value == std::numeric_limits<std::int64_t>::min()
             ? std::numeric_limits<std::int64_t>::max()
             : -value;
}

[[nodiscard]] inline std::int64_t SaturatingMultiply(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  return (a < 0) != (b < 0) ? std::numeric_limits<std::int64_t>::min()
                            : std::numeric_limits<std::int64_t>::max();
}

/// Truncates toward zero; NaN becomes 0.
[[nodiscard]] inline std::int64_t SaturatingCast(double value) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  if (std::isnan(value)) return 0;
  if (value >= kTwoTo63) return std::numeric_limits<std::int64_t>::max();
  if (value < -kTwoTo63) return std::numeric_limits<std::int64_t>::min();
  return static_cast<std::int64_t>(value);
}

}  // namespace heldby
