// One allocation site as the sampler would see it, for hours in a millisecond: blocks are drawn
// as samples, with the weights of the real sampler, and die when their model says so.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "leaks/growth.h"

namespace heldby::leaks {

inline constexpr double kForever = std::numeric_limits<double>::infinity();

class SimulatedSite {
 public:
  SimulatedSite(double sample_bytes, std::uint64_t seed)
      : sample_bytes_(sample_bytes), random_(seed) {}

  /// `bytes` in blocks of `size_bytes` at `now_s`, each to live `life_s`.
  void Allocate(double now_s, double bytes, double size_bytes, double life_s) {
    const double seen = 1 - std::exp(-(size_bytes + 1) / sample_bytes_);
    std::poisson_distribution<int> samples(bytes / size_bytes * seen);
    for (int n = samples(random_); n > 0; --n) AddSample(now_s, size_bytes / seen, life_s);
  }
  /// One block, sampled or not.
  void AllocateOne(double now_s, double size_bytes, double life_s) {
    const double seen = 1 - std::exp(-(size_bytes + 1) / sample_bytes_);
    if (Uniform(0, 1) < seen) AddSample(now_s, size_bytes / seen, life_s);
  }
  void FreeAll() { live_.clear(); }
  /// The oldest, until no more than `bytes` live.
  void FreeOldest(double bytes) {
    double live = live_bytes();
    auto end = live_.begin();
    for (; end != live_.end() && live > bytes; ++end) live -= end->bytes;
    live_.erase(live_.begin(), end);
  }
  void Expire(double now_s) {
    std::erase_if(live_, [now_s](const Sample& sample) { return sample.dies_s <= now_s; });
  }

  [[nodiscard]] double live_bytes() const {
    double sum = 0;
    for (const Sample& sample : live_) sum += sample.bytes;
    return sum;
  }
  [[nodiscard]] double allocated_bytes() const { return allocated_bytes_; }
  [[nodiscard]] std::vector<Birth> births() const {
    std::vector<Birth> births;
    for (const Sample& sample : live_) {
      births.push_back({static_cast<std::int64_t>(sample.born_s * 1e9), sample.bytes});
    }
    return births;
  }
  double Uniform(double from, double to) {
    return std::uniform_real_distribution<double>(from, to)(random_);
  }
  double Exponential(double mean) {
    return std::exponential_distribution<double>(1 / mean)(random_);
  }

 private:
  struct Sample {
    double born_s;
    double dies_s;
    double bytes;
  };
  void AddSample(double now_s, double weight_bytes, double life_s) {
    live_.push_back({now_s, now_s + life_s, weight_bytes});
    allocated_bytes_ += weight_bytes;
  }

  double sample_bytes_;
  std::mt19937_64 random_;
  std::vector<Sample> live_{};
  double allocated_bytes_ = 0;
};

}  // namespace heldby::leaks
