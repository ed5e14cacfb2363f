// core/base/math.h - the two functions sampling needs, without libm.
//
// Threads  any.   Signals  safe.   Allocates  never.
// The core depends on libc alone; libm would be one more object in every process.
#pragma once

#include <bit>
#include <cstdint>

namespace heldby::core {

/// Natural logarithm of a positive, normal x. Relative error below 1e-10: with x = m * 2^k,
/// m in [sqrt(1/2), sqrt(2)), ln x = k ln 2 + 2 atanh(s), s = (m-1)/(m+1), |s| < 0.172, so the
/// first term left out is 2 s^13 / 13 < 2e-11.
constexpr double Log(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double q = s * s;
  const double series =
      1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11)))));
  return exponent * 0.6931471805599453 + 2 * s * series;
}

/// 1 - exp(-x) for x >= 0, accurate for tiny x too, where subtracting from 1 would leave noise.
/// With x = k ln 2 + r, |r| <= ln 2 / 2: exp(-x) = 2^-k exp(-r); the Taylor series of exp(-r)
/// to r^12 leaves less than 1e-15. By hand: x = 1 gives 0.632121, x = 2 gives 0.864665.
constexpr double OneMinusExpMinus(double x) {
  if (x > 40) return 1;  // exp(-40) < 2^-53
  const int k = static_cast<int>(x / 0.6931471805599453 + 0.5);
  const double r = x - k * 0.6931471805599453;
  double term = 1;
  double minus_expm1 = 0;  // 1 - exp(-r) = r - r^2/2 + r^3/6 - ...
  for (int i = 1; i <= 13; ++i) {
    term *= -r / i;
    minus_expm1 -= term;
  }
  const double scale = std::bit_cast<double>(static_cast<std::uint64_t>(1023 - k) << 52);
  return (1 - scale) + scale * minus_expm1;
}

}  // namespace heldby::core
