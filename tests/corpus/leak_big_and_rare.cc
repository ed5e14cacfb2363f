// Uploads come every few seconds and are large. One that the client takes back before it is
// complete stays in the table of open uploads: a leak of few blocks and many bytes.
#include "program.h"

namespace {

struct Upload {
  std::uint64_t id;
  std::vector<char> content;
};

[[gnu::noinline]] std::unique_ptr<Upload> BeginUpload(std::uint64_t id, std::size_t bytes) {
  auto upload = std::make_unique<Upload>();  // leak
  upload->id = id;
  upload->content.resize(bytes);  // leak
  return upload;
}

class Uploads {
 public:
  void Begin(std::uint64_t id, std::size_t bytes) { open_[id] = BeginUpload(id, bytes); }
  void Complete(std::uint64_t id) { open_.erase(id); }
  void TakeBack(std::uint64_t id) { taken_back_.push_back(id); }

 private:
  std::map<std::uint64_t, std::unique_ptr<Upload>> open_;
  std::deque<std::uint64_t> taken_back_;  // to be swept by a job that was never written
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double taken_back = random.Uniform(0.35, 0.7);
  const double pause = random.Uniform(0.35, 0.9);
  Uploads uploads;
  std::uint64_t id = 0;
  while (program.Sleep(pause * random.Uniform(0.5, 1.5))) {
    uploads.Begin(++id, static_cast<std::size_t>(random.Magnitude(300'000, 3'000'000)));
    program.Sleep(random.Uniform(0.05, 0.2));
    if (random.Chance(taken_back)) {
      uploads.TakeBack(id);
    } else {
      uploads.Complete(id);
    }
  }
  return program.Done();
}
