// As healthy_load_growth, with objects that heldby knows nothing of: orders that are open for a
// while and then closed, more and more of them. Each goes in its time, and as many are old as
// ever: no leak.
#include "program.h"

namespace {

struct Order {
  std::string customer;
  std::vector<char> items;
};

[[gnu::noinline]] std::unique_ptr<Order> Open(std::size_t number, corpus::Random* random) {
  auto order = std::make_unique<Order>();
  order->customer = "customer number " + std::to_string(number) + ", by telephone";
  order->items.resize(random->Between(1'000, 15'000));
  return order;
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double at_first = random.Uniform(40, 110);
  const double at_last = at_first * random.Uniform(3, 7);
  const double open_seconds = program.seconds() * random.Uniform(0.03, 0.09);
  std::size_t number = 0;
  corpus::Expiring<std::unique_ptr<Order>> orders;
  corpus::Pace arrivals(program, &random, at_first);
  while (arrivals.Next()) {
    arrivals.set_rate(at_first + (at_last - at_first) * program.progress());
    orders.Add(random.Uniform(0.2, 1.8) * open_seconds, Open(++number, &random));
    orders.Sweep();
  }
  return program.Done();
}
