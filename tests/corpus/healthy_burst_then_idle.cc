// A burst at the beginning (a morning's backlog) fills queues and tables; then there is little
// to do, most of it goes, and what is left stays as it is. No leak.
#include "program.h"

namespace {

struct Letter {
  std::string address;
  std::vector<char> content;
};

[[gnu::noinline]] std::unique_ptr<Letter> Accept(corpus::Random* random) {
  auto letter = std::make_unique<Letter>();
  letter->address.assign(random->Between(30, 120), 'a');
  letter->content.resize(random->Size());
  return letter;
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double burst_until = random.Uniform(0.08, 0.22);
  const double burst = random.Uniform(900, 2200);
  const double idle = random.Uniform(8, 30);
  const double kept = random.Uniform(0.02, 0.1);  // of the burst, to the end: addressee unknown
  corpus::Expiring<std::unique_ptr<Letter>> letters;
  std::vector<std::unique_ptr<Letter>> undeliverable;
  corpus::Pace arrivals(program, &random, burst);
  while (arrivals.Next()) {
    const bool is_burst = program.progress() < burst_until;
    arrivals.set_rate(is_burst ? burst : idle);
    if (is_burst && random.Chance(kept)) {
      undeliverable.push_back(Accept(&random));
    } else {
      letters.Add(random.Exponential(program.seconds() * 0.02), Accept(&random));
    }
    letters.Sweep();
  }
  return program.Done();
}
