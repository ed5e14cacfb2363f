// A session owns its timer, the timer owns a closure, and the closure owns the session:
// sessions that are cancelled the proper way take the timer apart, those that just end do not,
// and live for ever in a cycle that no pointer of the program leads to.
#include <functional>

#include "program.h"

namespace {

class Session;

struct Timer {
  std::function<void()> on_expiry;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  [[gnu::noinline]] static std::shared_ptr<Session> Open(corpus::Random* random) {
    auto session = std::make_shared<Session>();                     // leak
    session->history_.resize(random->Size());                       // leak
    session->timer_ = std::make_shared<Timer>();                    // leak
    session->timer_->on_expiry = [session] { session->Expire(); };  // leak
    return session;
  }
  void Cancel() { timer_ = nullptr; }

 private:
  void Expire() { history_.clear(); }

  std::vector<char> history_;
  std::shared_ptr<Timer> timer_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double cancelled = random.Uniform(0.55, 0.85);
  corpus::Expiring<std::shared_ptr<Session>> open;
  corpus::Pace logins(program, &random, random.Uniform(350, 900));
  while (logins.Next()) {
    std::shared_ptr<Session> session = Session::Open(&random);
    if (random.Chance(cancelled)) session->Cancel();
    open.Add(random.Exponential(0.3), std::move(session));
    open.Sweep();
  }
  return program.Done();
}
