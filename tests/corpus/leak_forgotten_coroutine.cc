// Coroutines that wait for a reply. A reply that never comes leaves its coroutine suspended for
// ever, with its frame and the buffer in it: tasks that are parked and memory that they hold.
#include <coroutine>

#include "heldby/coroutine.h"
#include "program.h"

namespace {

struct Detached {
  struct promise_type : heldby::TracedPromise {
    Detached get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    auto initial_suspend() { return Traced(std::suspend_always()); }
    auto final_suspend() noexcept { return TracedFinal(std::suspend_never()); }
    void return_void() {}
    void unhandled_exception() { std::abort(); }
  };
  std::coroutine_handle<promise_type> coroutine;
};

/// Whose reply comes when; one that does not come is not in it.
class Replies {
 public:
  struct Awaiter {
    Replies& replies;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> waiter) { replies.Wait(waiter); }
    void await_resume() const {}
  };
  explicit Replies(corpus::Random* random)
      : random_(*random), lost_(random->Uniform(0.05, 0.15)) {}

  Awaiter Next() { return {*this}; }
  void Deliver() {
    while (!due_.empty() && due_.begin()->first <= corpus::Clock::now()) {
      const std::coroutine_handle<> waiter = due_.begin()->second;
      due_.erase(due_.begin());
      waiter.resume();
    }
  }

 private:
  void Wait(std::coroutine_handle<> waiter) {
    if (random_.Chance(lost_)) return;
    due_.emplace(corpus::Clock::now() + corpus::Program::Seconds(random_.Exponential(0.2)),
                 waiter);
  }

  corpus::Random& random_;
  const double lost_;
  std::multimap<corpus::Clock::time_point, std::coroutine_handle<>> due_;
};

Detached Query(Replies* replies, std::size_t bytes) {
  std::vector<char> rows(bytes);  // leak
  co_await replies->Next();
  corpus::Use(rows.data());
}  // leak: the frame itself

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Replies replies(&random);
  corpus::Pace queries(program, &random, random.Uniform(200, 500));
  while (queries.Next()) {
    const Detached query = Query(&replies, random.Between(2'000, 25'000));
    query.coroutine.promise().BeginTask("query");
    query.coroutine.resume();
    replies.Deliver();
  }
  return program.Done();
}
