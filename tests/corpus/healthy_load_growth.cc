// A launch: through the whole run there are more and more clients, and each holds what a client
// holds. Connections are known to heldby, and memory grows as they do: no leak, though nothing
// ever falls.
#include "heldby/connection.h"
#include "heldby/task.h"
#include "program.h"

namespace {

class Client {
 public:
  explicit Client(corpus::Random* random) : known_(-1, heldby::Direction::kInbound) {
    const heldby::Task task("subscribe", {.connection = known_.id()});
    MakeBuffers(random);
    known_.SetState("subscribed");
  }

 private:
  [[gnu::noinline]] void MakeBuffers(corpus::Random* random) {
    input_.resize(random->Between(4'000, 12'000));
    output_.resize(random->Between(8'000, 40'000));
  }

  heldby::Connection known_;
  std::vector<char> input_;
  std::vector<char> output_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double at_first = random.Uniform(15, 40);
  const double at_last = at_first * random.Uniform(4, 9);
  const double stay_seconds = program.seconds() * random.Uniform(0.05, 0.12);
  corpus::Expiring<std::unique_ptr<Client>> clients;
  corpus::Pace arrivals(program, &random, at_first);
  while (arrivals.Next()) {
    arrivals.set_rate(at_first + (at_last - at_first) * program.progress());
    clients.Add(random.Uniform(0.3, 1.7) * stay_seconds, std::make_unique<Client>(&random));
    clients.Sweep();
  }
  return program.Done();
}
