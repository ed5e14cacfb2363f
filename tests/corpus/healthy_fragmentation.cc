// A table of as many records as ever, each replaced now and then by one of another size, in no
// order: the allocator's pages break up and the process grows, the heap does not. No leak.
#include "program.h"

namespace {

class Records {
 public:
  explicit Records(std::size_t count) : records_(count) {}

  [[gnu::noinline]] void Replace(std::size_t place, std::size_t bytes) {
    records_[place] = std::make_unique<std::vector<char>>(bytes);
  }
  std::size_t count() const { return records_.size(); }

 private:
  std::vector<std::unique_ptr<std::vector<char>>> records_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Records records(random.Between(4'000, 12'000));
  for (std::size_t i = 0; i < records.count(); ++i) records.Replace(i, random.Size());
  corpus::Pace changes(program, &random, random.Uniform(900, 2500));
  while (changes.Next()) {
    // Some places are changed over and over, some stay as they were at the start.
    const double skew = random.Uniform(0, 1);
    const auto place =
        static_cast<std::size_t>(skew * skew * static_cast<double>(records.count() - 1));
    records.Replace(place, random.Size());
  }
  return program.Done();
}
