// A job is a heldby::AsyncTask with what it works on. It ends when its answer comes; when the
// answer is lost, nobody ends it, since there is no timeout: tasks and their bytes add up.
#include <unordered_map>

#include "heldby/task.h"
#include "program.h"

namespace {

struct Job {
  heldby::AsyncTask task{"resize image"};
  std::vector<char> image;
};

[[gnu::noinline]] void LoadImage(Job* job, corpus::Random* random) {
  const heldby::AsyncTask::Piece piece(job->task);
  job->image.resize(random->Between(3'000, 30'000));  // leak
}

class Jobs {
 public:
  std::uint64_t Start(corpus::Random* random) {
    auto job = std::make_unique<Job>();  // leak
    LoadImage(job.get(), random);
    job->task.SetState("waiting for the resizer");
    jobs_.emplace(++last_, std::move(job));  // leak
    return last_;
  }
  void Answered(std::uint64_t id) { jobs_.erase(id); }

 private:
  std::uint64_t last_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Job>> jobs_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double lost = random.Uniform(0.04, 0.12);
  corpus::Pace requests(program, &random, random.Uniform(250, 600));
  Jobs jobs;
  std::multimap<corpus::Clock::time_point, std::uint64_t> answers;
  while (requests.Next()) {
    const std::uint64_t id = jobs.Start(&random);
    if (!random.Chance(lost)) {
      answers.emplace(corpus::Clock::now() + corpus::Program::Seconds(random.Exponential(0.25)),
                      id);
    }
    const auto until = answers.upper_bound(corpus::Clock::now());
    for (auto answer = answers.begin(); answer != until; ++answer)
      jobs.Answered(answer->second);
    answers.erase(answers.begin(), until);
  }
  return program.Done();
}
