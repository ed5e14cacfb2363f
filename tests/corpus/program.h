// What the programs of the corpus share: arguments, the endpoint, seeded chance, time, and the
// noise of a service that does other things as well. A second here is about a minute there.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "heldby/debug_server.h"

namespace corpus {

using Clock = std::chrono::steady_clock;

/// The compiler must believe that somebody uses `object`.
template <typename T>
void Use(T* object) {
  asm volatile("" : : "r"(object) : "memory");
}

/// One stream of chance; each thread has its own.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  double Uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  /// Evenly among magnitudes: as much between 1 and 10 as between 10 and 100.
  double Magnitude(double low, double high) {
    return std::exp(Uniform(std::log(low), std::log(high)));
  }
  std::size_t Between(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(engine_);
  }
  bool Chance(double probability) { return Uniform(0, 1) < probability; }
  double Exponential(double mean) { return -mean * std::log(1 - Uniform(0, 1)); }

  /// Of one object of a service, in bytes: mostly small, now and then a buffer. 2 KB on
  /// average.
  std::size_t Size() {
    const double kind = Uniform(0, 1);
    if (kind < 0.60) return static_cast<std::size_t>(Magnitude(16, 256));
    if (kind < 0.93) return static_cast<std::size_t>(Magnitude(256, 4096));
    return static_cast<std::size_t>(Magnitude(4096, 65536));
  }

 private:
  std::mt19937_64 engine_;
};

/// From its construction to Done(): the endpoint, and the noise.
class Program {
 public:
  Program(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument.starts_with("--seed=")) {
        seed_ = std::strtoull(argv[i] + 7, nullptr, 10);
      } else if (argument.starts_with("--seconds=")) {
        seconds_ = std::strtod(argv[i] + 10, nullptr);
      } else {
        Fail("unknown argument: " + std::string(argument) + "; accepted: --seed=N --seconds=S");
      }
    }
    if (!(seconds_ > 0)) Fail("--seconds has to be more than 0");
    auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
    if (!server) Fail(server.status().message());
    server_ = std::make_unique<heldby::DebugServer>(*std::move(server));
    std::printf("serving %s\n", server_->address().c_str());
    std::fflush(stdout);
    start_ = Clock::now();
    end_ = start_ + Seconds(seconds_);
    noise_ = std::thread([this] { MakeNoise(); });
  }

  /// The stream of this number: the same seed gives the same program.
  Random Stream(std::uint64_t number) const {
    std::seed_seq sequence{seed_, seed_ >> 32, number};
    std::uint64_t mixed[1];
    sequence.generate(mixed, mixed + 1);
    return Random(mixed[0] ^ (seed_ * 0x9e3779b97f4a7c15u + number));
  }

  double seconds() const { return seconds_; }
  bool running() const { return Clock::now() < end_; }
  /// 0 at the beginning, 1 at the end.
  double progress() const {
    return std::chrono::duration<double>(Clock::now() - start_).count() / seconds_;
  }
  /// False: the program was over before.
  bool SleepUntil(Clock::time_point when) const {
    std::this_thread::sleep_until(std::min(when, end_));
    return running();
  }
  bool Sleep(double seconds) const { return SleepUntil(Clock::now() + Seconds(seconds)); }

  static Clock::duration Seconds(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  /// main()'s last word.
  int Done() {
    noise_.join();
    std::puts("done");
    return 0;
  }

 private:
  [[noreturn]] static void Fail(const std::string& message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    std::exit(2);
  }
  void MakeNoise();

  std::uint64_t seed_ = 1;
  double seconds_ = 40;
  std::unique_ptr<heldby::DebugServer> server_;
  Clock::time_point start_;
  Clock::time_point end_;
  std::thread noise_;
};

/// Events at random times, so many a second on average, whenever the thread gets to them: what
/// is late is caught up with, but for more than half a second's worth.
class Pace {
 public:
  Pace(const Program& program, Random* random, double per_second)
      : program_(program), random_(*random), per_second_(per_second), next_(Clock::now()) {}

  void set_rate(double per_second) { per_second_ = std::max(per_second, 0.01); }

  /// Waits for the next event. False: the program is over.
  bool Next() {
    next_ += Program::Seconds(random_.Exponential(1 / per_second_));
    const Clock::time_point now = Clock::now();
    if (now - next_ > std::chrono::milliseconds(500)) next_ = now;
    return program_.SleepUntil(next_);
  }

 private:
  const Program& program_;
  Random& random_;
  double per_second_;
  Clock::time_point next_;
};

/// What ends by itself: objects, each with the time at which it goes.
template <typename T>
class Expiring {
 public:
  void Add(double lifetime_seconds, T object) {
    objects_.emplace(Clock::now() + Program::Seconds(lifetime_seconds), std::move(object));
  }
  void Sweep() { objects_.erase(objects_.begin(), objects_.upper_bound(Clock::now())); }
  std::size_t size() const { return objects_.size(); }

 private:
  std::multimap<Clock::time_point, T> objects_;
};

namespace noise {

[[gnu::noinline]] inline std::string FormatLogLine(Random* random) {
  return std::string(random->Between(60, 400), 'l');
}
[[gnu::noinline]] inline std::vector<char> ReadPacket(Random* random) {
  return std::vector<char>(random->Size());
}
[[gnu::noinline]] inline std::map<std::string, std::string> ParseHeaders(Random* random) {
  std::map<std::string, std::string> headers;
  for (std::size_t i = random->Between(3, 12); i > 0; --i) {
    headers["x-header-name-" + std::to_string(i)] = std::string(random->Between(8, 90), 'v');
  }
  return headers;
}

/// What is held for a moment: of the last requests.
struct Moment {
  std::string line;
  std::vector<char> packet;
  std::map<std::string, std::string> headers;
};

}  // namespace noise

inline void Program::MakeNoise() {
  Random random = Stream(~std::uint64_t{0});
  const std::size_t most = random.Between(60, 300);
  Pace pace(*this, &random, random.Uniform(150, 500));
  std::deque<noise::Moment> moments;
  while (pace.Next()) {
    for (std::size_t i = random.Between(1, 5); i > 0; --i) {
      noise::Moment moment;
      if (random.Chance(0.8)) moment.line = noise::FormatLogLine(&random);
      if (random.Chance(0.6)) moment.packet = noise::ReadPacket(&random);
      if (random.Chance(0.4)) moment.headers = noise::ParseHeaders(&random);
      moments.push_back(std::move(moment));
    }
    // Now and then all at once, as at the end of a burst.
    const std::size_t keep = random.Chance(0.01) ? most / 4 : most;
    while (moments.size() > keep) moments.pop_front();
  }
}

}  // namespace corpus
