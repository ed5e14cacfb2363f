// A cache of rendered answers by URL. The URL has the query string, and the query string has
// what clients like to put there, so most entries are asked for once and stay for ever.
#include <unordered_map>

#include "program.h"

namespace {

class AnswerCache {
 public:
  [[gnu::noinline]] const std::string& Get(const std::string& url, corpus::Random* random) {
    const auto cached = answers_.find(url);
    if (cached != answers_.end()) return cached->second;
    std::string& answer = answers_[url];  // leak
    answer.assign(random->Size(), 'a');   // leak
    return answer;
  }

 private:
  std::unordered_map<std::string, std::string> answers_;
};

// Most ask for one of the popular pages; some come with a campaign's parameters.
std::string UrlOf(corpus::Random* random, double tracked) {
  std::string url = "/articles/" + std::to_string(random->Between(1, 400));
  if (random->Chance(tracked)) {
    url += "?utm_source=newsletter&click=" + std::to_string(random->Between(0, 1u << 31));
  }
  return url;
}

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const double tracked = random.Uniform(0.1, 0.4);
  AnswerCache cache;
  std::size_t sent_bytes = 0;
  corpus::Pace requests(program, &random, random.Uniform(700, 1600));
  while (requests.Next()) sent_bytes += cache.Get(UrlOf(&random, tracked), &random).size();
  corpus::Use(&sent_bytes);
  return program.Done();
}
