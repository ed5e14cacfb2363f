// One thread reads events and queues them, another takes them off and works. Those of a kind
// that the worker does not know are put aside "for later", which never comes: allocated on one
// thread, kept by another.
#include <condition_variable>
#include <mutex>

#include "program.h"

namespace {

struct Event {
  int kind;
  std::vector<char> payload;
};

class Queue {
 public:
  void Push(std::unique_ptr<Event> event) {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(std::move(event));
    filled_.notify_one();
  }
  void Close() {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_closed_ = true;
    filled_.notify_all();
  }
  /// nullptr: closed.
  std::unique_ptr<Event> Pop() {
    std::unique_lock<std::mutex> lock(mutex_);
    filled_.wait(lock, [this] { return is_closed_ || !events_.empty(); });
    if (events_.empty()) return nullptr;
    std::unique_ptr<Event> event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::unique_ptr<Event>> events_;
  bool is_closed_ = false;
};

[[gnu::noinline]] std::unique_ptr<Event> ReadEvent(int kind, corpus::Random* random) {
  auto event = std::make_unique<Event>();  // leak
  event->kind = kind;
  event->payload.resize(random->Size());  // leak
  return event;
}

void Work(Queue* queue, std::deque<std::unique_ptr<Event>>* for_later) {
  constexpr int kUnknownKind = 7;
  std::size_t handled_bytes = 0;
  while (std::unique_ptr<Event> event = queue->Pop()) {
    if (event->kind == kUnknownKind) {
      for_later->push_back(std::move(event));
    } else {
      handled_bytes += event->payload.size();
    }
  }
  corpus::Use(&handled_bytes);
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  Queue queue;
  std::deque<std::unique_ptr<Event>> for_later;
  std::thread worker([&] { Work(&queue, &for_later); });
  corpus::Random random = program.Stream(1);
  const double unknown = random.Uniform(0.1, 0.3);
  corpus::Pace events(program, &random, random.Uniform(900, 2200));
  while (events.Next()) {
    const int kind = random.Chance(unknown) ? 7 : static_cast<int>(random.Between(0, 6));
    queue.Push(ReadEvent(kind, &random));
  }
  queue.Close();
  worker.join();
  return program.Done();
}
