// Tables are read at the start, for some seconds, and kept to the end: large, old, and owned by
// code that never runs again. Requests come and go beside them. No leak.
#include <unordered_map>

#include "program.h"

namespace {

class Dictionary {
 public:
  [[gnu::noinline]] void Read(std::size_t entries, corpus::Random* random) {
    for (std::size_t i = 0; i < entries; ++i) {
      meanings_["word-number-" + std::to_string(meanings_.size())] =
          std::string(random->Between(30, 700), 'm');
    }
  }

 private:
  std::unordered_map<std::string, std::string> meanings_;
};

[[gnu::noinline]] std::vector<char> Answer(corpus::Random* random) {
  return std::vector<char>(random->Size());
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Dictionary dictionary;
  const double read_until = random.Uniform(0.04, 0.2);
  const std::size_t pieces = random.Between(20, 60);
  for (std::size_t i = 0; i < pieces; ++i) {
    dictionary.Read(random.Between(300, 1'500), &random);
    program.Sleep(program.seconds() * read_until / static_cast<double>(pieces));
  }
  corpus::Expiring<std::vector<char>> answers;
  corpus::Pace requests(program, &random, random.Uniform(300, 900));
  while (requests.Next()) {
    answers.Add(random.Exponential(0.2), Answer(&random));
    answers.Sweep();
  }
  return program.Done();
}
