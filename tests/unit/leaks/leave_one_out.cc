// Is a bound of the judge made for one model? Each bound is tried at half to twice its size.
// For each model, those settings that make the fewest mistakes over all the others are taken,
// and how many mistakes the worst of them makes on the one that was left out is printed: of
// `seeds` runs each.
//
//   leave_one_out [SEEDS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "growth_models.h"

namespace heldby::leaks {
namespace {

struct Setting {
  std::string name;
  GrowthBounds bounds{};
};

std::vector<Setting> Settings() {
  static constexpr struct {
    const char* name;
    double GrowthBounds::*bound;
  } kBounds[] = {{"survivors", &GrowthBounds::survivors},
                 {"certain_survivors", &GrowthBounds::certain_survivors},
                 {"large_part", &GrowthBounds::large_part},
                 {"sigmas", &GrowthBounds::sigmas},
                 {"trend - 1", &GrowthBounds::trend},
                 {"trend_sigmas", &GrowthBounds::trend_sigmas},
                 {"half_part", &GrowthBounds::half_part},
                 {"born_late", &GrowthBounds::born_late},
                 {"of_history", &GrowthBounds::of_history}};
  std::vector<Setting> settings = {{"as they are", {}}};
  for (const auto& [name, bound] : kBounds) {
    for (const double times : {0.5, 0.7, 1.4, 2.0}) {
      Setting setting{std::string(name) + " x " + std::to_string(times).substr(0, 3), {}};
      const bool is_ratio = bound == &GrowthBounds::trend;  // of which 1 is nothing
      setting.bounds.*bound = is_ratio ? 1 + times * 0.4 : times * setting.bounds.*bound;
      if (bound == &GrowthBounds::of_history && times > 1) continue;  // there is no more
      settings.push_back(setting);
    }
  }
  for (const int slices : {3, 4, 6, 7}) {
    settings.push_back({"slices " + std::to_string(slices), {.slices = slices}});
  }
  return settings;
}

void Print(int seeds) {
  const std::vector<Setting> settings = Settings();
  std::vector<const Model*> models;
  for (const Model& model : kLeaks) models.push_back(&model);
  for (const Model& model : kHealthy) models.push_back(&model);
  std::vector<std::vector<int>> wrong(settings.size(), std::vector<int>(models.size()));
  for (std::size_t m = 0; m < models.size(); ++m) {
    const bool is_leak = m < std::size(kLeaks);
    for (int seed = 1; seed <= seeds; ++seed) {
      const Seen seen = See(*models[m], 1000 + static_cast<std::uint64_t>(seed), kHour);
      for (std::size_t s = 0; s < settings.size(); ++s) {
        const Growth growth = JudgeGrowth(
            seen.points, seen.births, {.bounds = settings[s].bounds, .sample_bytes = kSample});
        wrong[s][m] += (growth.verdict == GrowthClass::kLeak) != is_leak ? 1 : 0;
      }
    }
  }
  std::printf("| setting | mistakes in %zu runs |\n|---|---|\n",
              models.size() * static_cast<std::size_t>(seeds));
  std::vector<int> sum(settings.size());
  for (std::size_t s = 0; s < settings.size(); ++s) {
    for (const int one : wrong[s]) sum[s] += one;
    std::printf("| %s | %d |\n", settings[s].name.c_str(), sum[s]);
  }
  std::printf(
      "\n| left out | settings that are best without it | mistakes of the worst of them, of %d "
      "|\n|---|---|---|\n",
      seeds);
  for (std::size_t m = 0; m < models.size(); ++m) {
    int best = sum[0] - wrong[0][m];
    for (std::size_t s = 0; s < settings.size(); ++s)
      best = std::min(best, sum[s] - wrong[s][m]);
    int count = 0;
    int worst = 0;
    for (std::size_t s = 0; s < settings.size(); ++s) {
      if (sum[s] - wrong[s][m] != best) continue;
      ++count;
      worst = std::max(worst, wrong[s][m]);
    }
    std::printf("| %s | %d of %zu | %d |\n", models[m]->name, count, settings.size(), worst);
  }
}

}  // namespace
}  // namespace heldby::leaks

int main(int argc, char** argv) {
  heldby::leaks::Print(argc > 1 ? std::max(std::atoi(argv[1]), 1) : 20);
  return 0;
}
