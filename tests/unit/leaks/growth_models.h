// Models of one allocation site each: what leaks, and what grows and does not leak.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "leaks/growth.h"
#include "leaks/site_history.h"
#include "simulated_site.h"

namespace heldby::leaks {

inline constexpr double kSample = 524'288;
inline constexpr double kHour = 3600;
inline constexpr double kTickS = 10;
inline constexpr int kSeeds = 40;

// What happens at a site in each second. The model's own random figures are drawn at its
// making.
using Step = std::function<Load(double now_s, SimulatedSite* site)>;

struct Model {
  const char* name;
  std::function<Step(SimulatedSite* site)> make;
};
inline std::ostream& operator<<(std::ostream& to, const Model& model) {
  return to << model.name;
}

struct Seen {
  std::vector<GrowthPoint> points;
  std::vector<Birth> births;
};

/// What a judge is shown of it after `run_s`.
inline Seen See(const Model& model, std::uint64_t seed, double run_s) {
  SimulatedSite site(kSample, seed);
  const Step step = model.make(&site);
  SiteHistory history(BandsFor(600 * kSecondNs), 1 << 20);
  for (double now_s = 1; now_s <= run_s; ++now_s) {
    site.Expire(now_s);
    const Load load = step(now_s, &site);
    if (std::fmod(now_s, kTickS) != 0) continue;
    const auto allocated = static_cast<std::uint64_t>(site.allocated_bytes());
    const auto live = static_cast<std::uint64_t>(site.live_bytes());
    const SiteTotals totals = {
        .site = 8, .allocated_bytes = allocated, .freed_bytes = allocated - live};
    history.Add(static_cast<std::int64_t>(now_s * 1e9), std::vector{totals}, load);
  }
  std::vector<GrowthPoint> points;
  for (std::size_t i = 0; i < history.times_ns().size(); ++i) {
    points.push_back({history.times_ns()[i], 0, 0, history.loads()[i]});
  }
  std::size_t filled = 0;
  SiteTotals now;
  history.Visit([&](std::size_t snapshot, const SiteTotals& totals) {
    for (; filled < snapshot; ++filled) {
      points[filled].live = static_cast<double>(now.live_bytes());
      points[filled].allocated = static_cast<double>(now.allocated_bytes);
    }
    now = totals;
  });
  for (; filled < points.size(); ++filled) {
    points[filled].live = static_cast<double>(now.live_bytes());
    points[filled].allocated = static_cast<double>(now.allocated_bytes);
  }
  return {points, site.births()};
}

inline Growth After(const Model& model, std::uint64_t seed, double run_s) {
  const Seen seen = See(model, seed, run_s);
  return JudgeGrowth(seen.points, seen.births, {.sample_bytes = kSample});
}

inline Load Nothing() { return {}; }

inline const Model kLeaks[] = {
    {"a little of every request",
     [](SimulatedSite* site) -> Step {
       const double rate = site->Uniform(20e3, 200e3);
       return [rate](double now, SimulatedSite* to) {
         to->Allocate(now, rate, 300, kForever);
         return Nothing();
       };
     }},
    {"a slow drip",
     [](SimulatedSite* site) -> Step {
       const double rate = site->Uniform(6e3, 12e3);
       return [rate](double now, SimulatedSite* to) {
         to->Allocate(now, rate, 64, kForever);
         return Nothing();
       };
     }},
    {"big and rare",
     [](SimulatedSite* site) -> Step {
       auto next = std::make_shared<double>(0);
       const double every = site->Uniform(60, 240);
       return [=](double now, SimulatedSite* to) {
         if (now >= *next) {
           to->AllocateOne(now, to->Uniform(10e6, 40e6), kForever);
           *next = now + to->Uniform(0.5, 1.5) * every;
         }
         return Nothing();
       };
     }},
    {"one of fifty blocks, among a turnover",
     [](SimulatedSite* site) -> Step {
       const double rate = site->Uniform(2e6, 4e6);
       const double life = site->Uniform(5, 30);
       return [=](double now, SimulatedSite* to) {
         to->Allocate(now, rate, 2000, to->Exponential(life));
         to->Allocate(now, rate / 50, 2000, kForever);
         return Nothing();
       };
     }},
    {"in proportion to a load that comes and goes",
     [](SimulatedSite* site) -> Step {
       const double period = site->Uniform(600, 2400);
       return [period](double now, SimulatedSite* to) {
         const double load = 1 + 0.8 * std::sin(6.283 * now / period);
         to->Allocate(now, 100e3 * load, 500, kForever);
         return Load{.connections = static_cast<std::int64_t>(100 * load), .tasks = 0};
       };
     }},
    {"since half an hour ago",
     [](SimulatedSite* site) -> Step {
       const double rate = site->Uniform(100e3, 300e3);
       return [rate](double now, SimulatedSite* to) {
         to->Allocate(now, 1e6, 500, 5);
         if (now > 0.5 * kHour) to->Allocate(now, rate, 500, kForever);
         return Nothing();
       };
     }},
    {"beneath a sawtooth",
     [](SimulatedSite* site) -> Step {
       const double period = site->Uniform(60, 200);
       return [period](double now, SimulatedSite* to) {
         to->Allocate(now, 200e3, 500, period - std::fmod(now, period));
         to->Allocate(now, 100e3, 500, kForever);
         return Nothing();
       };
     }},
    {"a buffer that doubles",
     [](SimulatedSite* site) -> Step {
       const double rate = site->Uniform(50e3, 500e3);
       auto size = std::make_shared<double>(1e6);
       return [=](double now, SimulatedSite* to) {
         while (rate * now > *size) {
           *size *= 2;
           to->FreeAll();
           to->AllocateOne(now, *size, kForever);
         }
         return Nothing();
       };
     }},
};

inline const Model kHealthy[] = {
    {"a turnover",
     [](SimulatedSite* site) -> Step {
       const double life = site->Uniform(1, 300);
       return [life](double now, SimulatedSite* to) {
         to->Allocate(now, 1e6, 500, to->Exponential(life));
         return Nothing();
       };
     }},
    {"a warm-up",
     [](SimulatedSite* site) -> Step {
       const double time = site->Uniform(60, 400);
       return [time](double now, SimulatedSite* to) {
         to->Allocate(now, 100e6 / time * std::exp(-now / time), 500, kForever);
         return Nothing();
       };
     }},
    {"a cache at its capacity",
     [](SimulatedSite* site) -> Step {
       const double full_after = site->Uniform(100, 1200);
       return [full_after](double now, SimulatedSite* to) {
         to->Allocate(now, 100e6 / full_after, 500, kForever);
         to->FreeOldest(100e6);
         return Nothing();
       };
     }},
    {"a pool",
     [](SimulatedSite*) -> Step {
       auto peak = std::make_shared<double>(0);
       return [=](double now, SimulatedSite* to) {
         const double busy = 500 + 100 * to->Uniform(-1, 1) + 50 * to->Exponential(1);
         for (; *peak < busy; ++*peak) to->AllocateOne(now, 64e3, kForever);
         return Nothing();
       };
     }},
    {"an arena, reset",
     [](SimulatedSite* site) -> Step {
       const double period = site->Uniform(20, 300);
       return [period](double now, SimulatedSite* to) {
         if (std::fmod(now, period) < 1) to->FreeAll();
         to->Allocate(now, 2e6, 1e6, kForever);
         return Nothing();
       };
     }},
    {"batches",
     [](SimulatedSite* site) -> Step {
       const double period = site->Uniform(300, 900);
       auto next = std::make_shared<double>(0);
       return [=](double now, SimulatedSite* to) {
         if (now >= *next) {
           to->FreeAll();
           *next = now + to->Uniform(0.7, 1.3) * period;
         }
         to->Allocate(now, 300e3, 800, kForever);
         return Nothing();
       };
     }},
    {"days and nights",
     [](SimulatedSite* site) -> Step {
       const double period = site->Uniform(600, 3600);
       const double life = site->Uniform(5, 60);
       return [=](double now, SimulatedSite* to) {
         const double load = 1 + 0.9 * std::sin(6.283 * now / period);
         to->Allocate(now, 2e6 * load, 500, to->Exponential(life));
         return Nothing();
       };
     }},
    {"logins that last, more and more of them",
     [](SimulatedSite* site) -> Step {
       const double per_second = site->Uniform(1, 4);
       auto logins = std::make_shared<double>(20);
       return [=](double now, SimulatedSite* to) {
         *logins += per_second;
         to->Allocate(now, 100e3 * per_second, 20e3, kForever);
         return Load{.connections = static_cast<std::int64_t>(*logins), .tasks = 0};
       };
     }},
    {"tables of the start",
     [](SimulatedSite*) -> Step {
       return [](double now, SimulatedSite* to) {
         if (now < 30) to->Allocate(now, 10e6, 500, kForever);
         return Nothing();
       };
     }},
    {"a burst, and rest",
     [](SimulatedSite* site) -> Step {
       const double at = site->Uniform(300, 1500);
       return [at](double now, SimulatedSite* to) {
         if (now > at && now < at + 60) to->Allocate(now, 5e6, 500, kForever);
         return Nothing();
       };
     }},
    {"a load that grows tenfold",
     [](SimulatedSite* site) -> Step {
       const double life = site->Uniform(5, 100);
       return [life](double now, SimulatedSite* to) {
         to->Allocate(now, 300e3 * (1 + 9 * now / kHour), 500, to->Exponential(life));
         return Nothing();
       };
     }},
    {"a vector that was filled",
     [](SimulatedSite* site) -> Step {
       const double rate = 64e6 / site->Uniform(100, 1200);
       auto size = std::make_shared<double>(1e6);
       return [=](double now, SimulatedSite* to) {
         while (std::min(rate * now, 64e6) > *size) {
           *size *= 2;
           to->FreeAll();
           to->AllocateOne(now, *size, kForever);
         }
         return Nothing();
       };
     }},
};

}  // namespace heldby::leaks
