// A deduplicator remembers the id of every message, so as not to handle one twice, and forgets
// none: a container that only grows. Handled messages themselves go.
#include <unordered_set>

#include "program.h"

namespace {

class Deduplicator {
 public:
  /// False: it has been here before.
  [[gnu::noinline]] bool IsFirst(const std::string& id) {
    return seen_.insert(id).second;  // leak
  }

 private:
  std::unordered_set<std::string> seen_;
};

struct Message {
  std::string id;
  std::vector<char> content;
};

[[gnu::noinline]] Message Receive(corpus::Random* random) {
  Message message;
  message.id = "message-" + std::to_string(random->Between(0, ~std::size_t{0} >> 1)) + "@";
  message.id += std::string(random->Between(10, 50), 'h');
  message.content.resize(random->Size());
  return message;
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  Deduplicator deduplicator;
  std::deque<Message> recent;
  const std::size_t keep = random.Between(100, 400);
  corpus::Pace messages(program, &random, random.Uniform(1500, 4000));
  while (messages.Next()) {
    Message message = Receive(&random);
    // One in twenty comes again.
    if (!recent.empty() && random.Chance(0.05)) message.id = recent.front().id;
    if (!deduplicator.IsFirst(message.id)) continue;
    recent.push_back(std::move(message));
    if (recent.size() > keep) recent.pop_front();
  }
  return program.Done();
}
