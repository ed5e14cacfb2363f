// Each connection has a session and buffers for both directions. A connection that the peer
// resets is taken from the table, but its output buffer had been handed to a list of pending
// writes, which nobody looks at again: a leak in proportion to the resets.
#include "heldby/connection.h"
#include "heldby/task.h"
#include "program.h"

namespace {

struct Buffer {
  std::vector<char> bytes;
};

class Session {
 public:
  explicit Session(corpus::Random* random) : known_(-1, heldby::Direction::kInbound) {
    const heldby::Task task("accept", {.connection = known_.id()});
    input_ = MakeInput(random);
    output_ = MakeOutput(random);
  }
  std::unique_ptr<Buffer> TakeOutput() { return std::move(output_); }

 private:
  [[gnu::noinline]] static std::unique_ptr<Buffer> MakeInput(corpus::Random* random) {
    auto input = std::make_unique<Buffer>();
    input->bytes.resize(random->Between(2'000, 9'000));
    return input;
  }
  [[gnu::noinline]] static std::unique_ptr<Buffer> MakeOutput(corpus::Random* random) {
    auto output = std::make_unique<Buffer>();              // leak
    output->bytes.resize(random->Between(4'000, 40'000));  // leak
    return output;
  }

  heldby::Connection known_;
  std::unique_ptr<Buffer> input_;
  std::unique_ptr<Buffer> output_;
};

class Server {
 public:
  Server(corpus::Random* random, double resets) : random_(*random), resets_(resets) {}

  void Accept() {
    auto session = std::make_unique<Session>(&random_);
    if (random_.Chance(resets_)) {
      pending_.push_back(session->TakeOutput());  // leak
      return;
    }
    sessions_.Add(random_.Exponential(0.4), std::move(session));
  }
  void Sweep() { sessions_.Sweep(); }

 private:
  corpus::Random& random_;
  const double resets_;
  corpus::Expiring<std::unique_ptr<Session>> sessions_;
  std::deque<std::unique_ptr<Buffer>> pending_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Server server(&random, random.Uniform(0.05, 0.15));
  corpus::Pace arrivals(program, &random, random.Uniform(100, 300));
  while (arrivals.Next()) {
    server.Accept();
    server.Sweep();
  }
  return program.Done();
}
