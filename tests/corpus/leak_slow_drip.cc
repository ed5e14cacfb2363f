// A busy service with megabytes of healthy churn; its statistics keep one small record for each
// client address that ever asked, and scanners ask from new addresses: a leak of some 100 KB a
// second beside everything else.
#include <unordered_map>

#include "program.h"

namespace {

struct ClientRecord {
  std::string user_agent;
  std::uint64_t requests = 0;
  double last_seen = 0;
};

class Statistics {
 public:
  [[gnu::noinline]] void Note(const std::string& address, corpus::Random* random) {
    std::unique_ptr<ClientRecord>& record = clients_[address];  // leak
    if (record == nullptr) {
      record = std::make_unique<ClientRecord>();                  // leak
      record->user_agent.assign(random->Between(300, 700), 'u');  // leak
    }
    ++record->requests;
  }

 private:
  std::unordered_map<std::string, std::unique_ptr<ClientRecord>> clients_;
};

[[gnu::noinline]] std::vector<char> RenderPage(corpus::Random* random) {
  return std::vector<char>(random->Between(5'000, 60'000));
}

std::string AddressOf(std::uint64_t client) {
  return "2001:db8:" + std::to_string(client / 65536) + "::" + std::to_string(client % 65536);
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const std::size_t regulars = random.Between(200, 600);
  const double scanners = random.Uniform(0.3, 0.6);
  corpus::Pace requests(program, &random, random.Uniform(280, 520));
  Statistics statistics;
  corpus::Expiring<std::vector<char>> pages;
  std::uint64_t next_scanner = 1'000'000;
  while (requests.Next()) {
    const std::uint64_t client =
        random.Chance(scanners) ? next_scanner++ : random.Between(1, regulars);
    statistics.Note(AddressOf(client), &random);
    pages.Add(random.Exponential(0.15), RenderPage(&random));
    pages.Sweep();
  }
  return program.Done();
}
