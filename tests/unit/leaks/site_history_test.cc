#include "leaks/site_history.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace heldby::leaks {
namespace {

constexpr std::int64_t kTickNs = 10 * kSecondNs;

std::vector<SiteTotals> Totals(const std::map<std::uint32_t, SiteTotals>& sites) {
  std::vector<SiteTotals> totals;
  for (const auto& [id, site] : sites) totals.push_back(site);
  return totals;
}

TEST(SiteHistory, EverySnapshotIsWhatWasAddedThen) {
  SiteHistory history(BandsFor(60 * kTickNs), 8 << 20);
  std::mt19937_64 random(7);
  std::map<std::uint32_t, SiteTotals> sites;
  std::map<std::int64_t, std::vector<SiteTotals>> told;
  for (int i = 0; i < 1000; ++i) {
    for (int k = 0; k < 20; ++k) {
      const auto id = static_cast<std::uint32_t>(8 * (1 + random() % (10 + i)));
      SiteTotals& site = sites[id];
      site.site = id;
      site.allocated_bytes += random() % 1'000'000 + 1;
      site.allocated_objects += 4096;
      if (random() % 2 == 0) site.freed_bytes = site.allocated_bytes;
    }
    told[i * kTickNs] = Totals(sites);
    history.Add(i * kTickNs, told[i * kTickNs]);
  }
  EXPECT_GT(history.times_ns().size(), 100u);
  EXPECT_LT(history.times_ns().size(), 200u);
  for (std::size_t i = 0; i < history.times_ns().size(); ++i) {
    EXPECT_EQ(history.At(i), told[history.times_ns()[i]]) << i;
  }
  std::map<std::uint32_t, SiteTotals> at_last;
  history.Visit([&](std::size_t, const SiteTotals& totals) { at_last[totals.site] = totals; });
  EXPECT_EQ(Totals(at_last), told.rbegin()->second);
}

TEST(SiteHistory, TenThousandBusySitesStayWithinTheBudgetAndThePastBecomesCoarser) {
  constexpr std::size_t kBudget = 4 << 20;
  SiteHistory history(BandsFor(60 * kTickNs), kBudget);
  std::vector<SiteTotals> sites(10'000);
  for (std::uint32_t i = 0; i < sites.size(); ++i) sites[i].site = 72 * (i + 1);
  for (int tick = 0; tick < 400; ++tick) {
    for (SiteTotals& site : sites) {
      site.allocated_bytes += 524'800;
      site.allocated_objects += 512 * 4096;
      site.freed_bytes += 524'800;
      site.freed_objects += 512 * 4096;
    }
    history.Add(tick * kTickNs, sites);
    ASSERT_LE(history.used_bytes(), kBudget);
  }
  EXPECT_GT(history.thinned_total(), 0u);
  EXPECT_GT(history.times_ns().size(), 20u);
  EXPECT_EQ(history.At(history.times_ns().size() - 1), sites);
  // What is left is not the last minutes alone.
  EXPECT_LT(history.times_ns()[1], 200 * kTickNs);
}

TEST(SiteHistory, ASiteThatIsLeftOutIsAsItWas) {
  SiteHistory history(BandsFor(60 * kTickNs), 1 << 20);
  const SiteTotals a{.site = 8, .allocated_bytes = 5};
  const SiteTotals b{.site = 16, .allocated_bytes = 7};
  history.Add(kTickNs, std::vector{a});
  history.Add(2 * kTickNs, std::vector{b});
  EXPECT_EQ(history.At(1), (std::vector{a, b}));
  EXPECT_EQ(history.At(0), (std::vector{a}));
}

}  // namespace
}  // namespace heldby::leaks
