// A job every so often, three to eight in a run: it loads a data set, works on it for a part of
// the time between two of them, and frees it. Serving goes on beside it. No leak.
#include "program.h"

namespace {

using DataSet = std::vector<std::unique_ptr<std::vector<char>>>;

[[gnu::noinline]] void LoadPart(DataSet* data, corpus::Random* random) {
  data->push_back(std::make_unique<std::vector<char>>(random->Size()));
}

void RunJobs(const corpus::Program& program) {
  corpus::Random random = program.Stream(1);
  const double period_seconds = program.seconds() / random.Uniform(3, 8);
  const std::size_t parts = random.Between(2'000, 8'000);
  program.Sleep(period_seconds * random.Uniform(0.1, 0.9));
  while (program.running()) {
    const corpus::Clock::time_point next =
        corpus::Clock::now() +
        corpus::Program::Seconds(period_seconds * random.Uniform(0.8, 1.2));
    const double load_seconds = period_seconds * random.Uniform(0.15, 0.35);
    DataSet data;
    corpus::Pace loading(program, &random, static_cast<double>(parts) / load_seconds);
    while (data.size() < parts && loading.Next()) LoadPart(&data, &random);
    program.Sleep(period_seconds * random.Uniform(0.05, 0.25));
    data.clear();
    program.SleepUntil(next);
  }
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  std::thread jobs([&program] { RunJobs(program); });
  corpus::Random random = program.Stream(2);
  corpus::Expiring<std::vector<char>> answers;
  corpus::Pace requests(program, &random, random.Uniform(200, 500));
  while (requests.Next()) {
    answers.Add(random.Exponential(0.2), std::vector<char>(random.Size()));
    answers.Sweep();
  }
  jobs.join();
  return program.Done();
}
