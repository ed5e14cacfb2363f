// Reports are made for eight tenants by the same code. One tenant has a setting that keeps a
// copy of each for a feature that is never used: the leak is under that tenant's label alone.
#include "heldby/labels.h"
#include "program.h"

namespace {

constexpr const char* kTenants[] = {"acme",    "bolt",  "cargo",   "delta",
                                    "emerald", "forum", "granite", "harbour"};
constexpr std::size_t kLeaking = 4;

struct Report {
  std::vector<char> cells;
};

[[gnu::noinline]] std::unique_ptr<Report> MakeReport(corpus::Random* random) {
  auto report = std::make_unique<Report>();              // leak
  report->cells.resize(random->Between(1'000, 12'000));  // leak
  return report;
}

class Reporter {
 public:
  void Serve(std::size_t tenant, corpus::Random* random) {
    const heldby::ScopedLabels labels({{"tenant", kTenants[tenant]}});
    std::unique_ptr<Report> report = MakeReport(random);
    if (tenant == kLeaking) {
      copies_.push_back(std::move(report));
      return;
    }
    shown_.Add(random->Exponential(0.5), std::move(report));
    shown_.Sweep();
  }

 private:
  corpus::Expiring<std::unique_ptr<Report>> shown_;
  std::deque<std::unique_ptr<Report>> copies_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Reporter reporter;
  corpus::Pace requests(program, &random, random.Uniform(250, 700));
  while (requests.Next()) {
    reporter.Serve(random.Between(0, std::size(kTenants) - 1), &random);
  }
  return program.Done();
}
