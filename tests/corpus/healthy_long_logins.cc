// People log in and stay: most for a moment, some for a fifth of the run. Memory grows until as
// many leave as come, which they do by a third of it. No leak, though many blocks are old.
#include "heldby/connection.h"
#include "heldby/task.h"
#include "program.h"

namespace {

class Login {
 public:
  explicit Login(std::size_t bytes) : known_(-1, heldby::Direction::kInbound) {
    const heldby::Task task("log in", {.connection = known_.id()});
    LoadProfile(bytes);
    known_.SetState("logged in");
  }

 private:
  [[gnu::noinline]] void LoadProfile(std::size_t bytes) { profile_.resize(bytes); }

  heldby::Connection known_;
  std::vector<char> profile_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double stays = random.Uniform(0.1, 0.35);
  const double longest_seconds = program.seconds() * random.Uniform(0.15, 0.3);
  corpus::Expiring<std::unique_ptr<Login>> logins;
  corpus::Pace arrivals(program, &random, random.Uniform(80, 200));
  while (arrivals.Next()) {
    const double seconds = random.Chance(stays) ? random.Uniform(0.3, 1) * longest_seconds
                                                : random.Exponential(0.2);
    logins.Add(seconds, std::make_unique<Login>(random.Between(6'000, 30'000)));
    logins.Sweep();
  }
  return program.Done();
}
