// The routing table is read anew three to eight times in a run: for a moment there are two,
// then the old one goes. Tables differ in size, one may be larger than the last. No leak.
#include <mutex>
#include <unordered_map>

#include "program.h"

namespace {

using RoutingTable = std::unordered_map<std::string, std::string>;

[[gnu::noinline]] std::shared_ptr<const RoutingTable> ReadTable(std::size_t routes,
                                                                corpus::Random* random) {
  auto table = std::make_shared<RoutingTable>();
  for (std::size_t i = 0; i < routes; ++i) {
    table->emplace("/services/" + std::to_string(i) + "/endpoint",
                   std::string(random->Between(80, 900), 't'));
  }
  return table;
}

class Router {
 public:
  void Replace(std::shared_ptr<const RoutingTable> table) {
    const std::lock_guard<std::mutex> lock(mutex_);
    table_.swap(table);
  }
  std::shared_ptr<const RoutingTable> table() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return table_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const RoutingTable> table_;
};

void Reload(const corpus::Program& program, Router* router) {
  corpus::Random random = program.Stream(1);
  const double period_seconds = program.seconds() / random.Uniform(3, 8);
  const std::size_t usual = random.Between(5'000, 20'000);
  do {
    const double part = random.Uniform(0.8, 1.25);
    router->Replace(
        ReadTable(static_cast<std::size_t>(part * static_cast<double>(usual)), &random));
  } while (program.Sleep(period_seconds * random.Uniform(0.7, 1.3)));
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  Router router;
  std::thread reloads([&] { Reload(program, &router); });
  corpus::Random random = program.Stream(2);
  std::size_t found = 0;
  corpus::Pace requests(program, &random, random.Uniform(300, 800));
  while (requests.Next()) {
    const auto table = router.table();
    const std::string path =
        "/services/" + std::to_string(random.Between(0, 20'000)) + "/endpoint";
    if (table != nullptr) found += table->count(path);
  }
  corpus::Use(&found);
  reloads.join();
  return program.Done();
}
