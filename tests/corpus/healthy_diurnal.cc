// Days and nights: the number of sessions follows the hour, three to eight days in a run, with
// some chance. Each session ends, and its memory with it. No leak, though half of each day
// looks like one.
#include <numbers>

#include "program.h"

namespace {

struct Session {
  std::string user;
  std::vector<char> state;
};

[[gnu::noinline]] std::unique_ptr<Session> LogIn(std::size_t number, corpus::Random* random) {
  auto session = std::make_unique<Session>();
  session->user = "user-" + std::to_string(number) + "@example.com";
  session->state.resize(random->Between(5'000, 60'000));
  return session;
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double days = random.Uniform(3, 8);
  const double first_hour = random.Uniform(0, 1);
  const double night = random.Uniform(0.15, 0.4);  // of the busiest hour
  const double busiest = random.Uniform(200, 500);
  const double stay_seconds = program.seconds() / days * random.Uniform(0.03, 0.1);
  std::size_t number = 0;
  corpus::Expiring<std::unique_ptr<Session>> sessions;
  corpus::Pace logins(program, &random, busiest);
  while (logins.Next()) {
    const double hour = first_hour + program.progress() * days;
    const double sun = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * hour);
    logins.set_rate(busiest * (night + (1 - night) * sun));
    sessions.Add(random.Exponential(stay_seconds), LogIn(++number, &random));
    sessions.Sweep();
  }
  return program.Done();
}
