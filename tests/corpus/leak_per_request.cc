// Each request makes a context. Those that fail validation return early, and nobody deletes
// theirs: a leak, the classic one, in proportion to the requests.
#include "program.h"

namespace {

struct RequestContext {
  std::string path;
  std::vector<char> body;
};

[[gnu::noinline]] RequestContext* MakeContext(corpus::Random* random) {
  auto* context = new RequestContext;                  // leak
  context->path.assign(random->Between(20, 90), '/');  // leak
  context->body.resize(random->Size());                // leak
  corpus::Use(context);
  return context;
}

class Handler {
 public:
  Handler(corpus::Random* random, double failing) : random_(*random), failing_(failing) {}

  void Serve() {
    RequestContext* context = MakeContext(&random_);
    if (!IsValid(*context)) {
      ++rejected_;
      return;
    }
    served_bytes_ += context->body.size();
    delete context;
  }

 private:
  bool IsValid(const RequestContext& context) {
    return !context.path.empty() && !random_.Chance(failing_);
  }

  corpus::Random& random_;
  const double failing_;
  std::size_t rejected_ = 0;
  std::size_t served_bytes_ = 0;
};

void ServeRequests(const corpus::Program& program, std::uint64_t thread) {
  corpus::Random random = program.Stream(thread);
  Handler handler(&random, random.Uniform(0.08, 0.25));
  corpus::Pace requests(program, &random, random.Uniform(400, 1100));
  while (requests.Next()) handler.Serve();
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    threads.emplace_back([&program, i] { ServeRequests(program, i); });
  }
  for (std::thread& thread : threads) thread.join();
  return program.Done();
}
