// A cache that forgets what was used longest ago once it is full. Entries live long and new
// ones come all the time, but never more than the capacity: no leak.
#include <list>
#include <unordered_map>

#include "program.h"

namespace {

class LruCache {
 public:
  explicit LruCache(std::size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  [[gnu::noinline]] const std::vector<char>& Get(std::size_t key, corpus::Random* random) {
    const auto known = places_.find(key);
    if (known != places_.end()) {
      entries_.splice(entries_.begin(), entries_, known->second);
      return entries_.front().value;
    }
    entries_.push_front({key, Load(random)});
    places_[key] = entries_.begin();
    used_bytes_ += entries_.front().value.size();
    while (used_bytes_ > capacity_bytes_) {
      used_bytes_ -= entries_.back().value.size();
      places_.erase(entries_.back().key);
      entries_.pop_back();
    }
    return entries_.front().value;
  }

 private:
  struct Entry {
    std::size_t key;
    std::vector<char> value;
  };
  [[gnu::noinline]] static std::vector<char> Load(corpus::Random* random) {
    return std::vector<char>(random->Size());
  }

  const std::size_t capacity_bytes_;
  std::size_t used_bytes_ = 0;
  std::list<Entry> entries_;
  std::unordered_map<std::size_t, std::list<Entry>::iterator> places_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double a_second = random.Uniform(600, 1500);
  const double fill_seconds = program.seconds() * random.Uniform(0.08, 0.25);
  // Half of the requests miss, with 2 KB each, so it is full after about this time.
  LruCache cache(static_cast<std::size_t>(0.5 * a_second * fill_seconds * 2'000) + 100'000);
  std::size_t sent_bytes = 0;
  std::size_t next_cold = 1'000'000;
  corpus::Pace requests(program, &random, a_second);
  while (requests.Next()) {
    const std::size_t key = random.Chance(0.5) ? random.Between(0, 50) : next_cold++;
    sent_bytes += cache.Get(key, &random).size();
  }
  corpus::Use(&sent_bytes);
  return program.Done();
}
