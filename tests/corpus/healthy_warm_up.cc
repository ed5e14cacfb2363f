// Templates are compiled when they are first asked for, and kept: memory grows with every new
// page, ever more slowly, until each has been asked for. No leak: there are only so many.
#include <unordered_map>

#include "program.h"

namespace {

class Templates {
 public:
  [[gnu::noinline]] const std::vector<char>& Get(std::size_t page, std::size_t bytes) {
    std::vector<char>& compiled = compiled_[page];
    if (compiled.empty()) compiled.resize(bytes);
    return compiled;
  }

 private:
  std::unordered_map<std::size_t, std::vector<char>> compiled_;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  const std::size_t pages = random.Between(300, 900);
  // Each page is asked for some six times until the end of the warm-up: all but one in 400.
  const double warm_up_seconds = program.seconds() * random.Uniform(0.12, 0.3);
  const double a_second = 6.0 * static_cast<double>(pages) / warm_up_seconds;
  std::vector<std::size_t> sizes(pages);
  for (std::size_t& bytes : sizes) bytes = random.Between(4'000, 40'000);
  Templates templates;
  std::size_t sent_bytes = 0;
  corpus::Pace requests(program, &random, a_second);
  while (requests.Next()) {
    const std::size_t page = random.Between(0, pages - 1);
    sent_bytes += templates.Get(page, sizes[page]).size();
  }
  corpus::Use(&sent_bytes);
  return program.Done();
}
