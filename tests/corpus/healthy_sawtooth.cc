// Rows are gathered in memory and written out together when there are enough of them, three to
// eight times in a run: memory grows and grows, and falls. No leak.
#include "program.h"

namespace {

class Gatherer {
 public:
  [[gnu::noinline]] void Add(std::size_t bytes) {
    rows_.emplace_back(bytes, 'r');
    bytes_ += bytes;
  }
  void WriteOut() {
    corpus::Use(rows_.data());
    rows_.clear();
    rows_.shrink_to_fit();
    bytes_ = 0;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::vector<std::string> rows_;
  std::size_t bytes_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double teeth = random.Uniform(3, 8);
  const double a_second = random.Uniform(400, 1200);
  const std::size_t smallest = random.Between(200, 600);
  const double mean_bytes = 2.0 * static_cast<double>(smallest);
  const double most_bytes = a_second * mean_bytes * program.seconds() / teeth;
  Gatherer gatherer;
  corpus::Pace rows(program, &random, a_second);
  double limit_bytes = most_bytes * random.Uniform(0.85, 1.15);
  while (rows.Next()) {
    gatherer.Add(random.Between(smallest, 3 * smallest));
    if (static_cast<double>(gatherer.bytes()) < limit_bytes) continue;
    gatherer.WriteOut();
    limit_bytes = most_bytes * random.Uniform(0.85, 1.15);
  }
  return program.Done();
}
