// An audit log in one buffer, written with every request and to be shipped "later": realloc by
// a fixed step, for ever. There is never more than one block, and the block is always young.
#include <cstring>

#include "program.h"

namespace {

class AuditLog {
 public:
  explicit AuditLog(std::size_t step_bytes) : step_bytes_(step_bytes) {}
  ~AuditLog() { std::free(text_); }

  [[gnu::noinline]] void Append(const char* line, std::size_t bytes) {
    if (used_bytes_ + bytes > capacity_bytes_) {
      capacity_bytes_ += step_bytes_;
      text_ = static_cast<char*>(std::realloc(text_, capacity_bytes_));  // leak
      if (text_ == nullptr) std::abort();
    }
    std::memcpy(text_ + used_bytes_, line, bytes);
    used_bytes_ += bytes;
  }

 private:
  const std::size_t step_bytes_;
  char* text_ = nullptr;
  std::size_t used_bytes_ = 0;
  std::size_t capacity_bytes_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  corpus::Program program(argc, argv);
  corpus::Random random = program.Stream(1);
  AuditLog log(random.Between(48, 160) << 10);
  char line[1200];
  std::memset(line, 'x', sizeof(line));
  corpus::Pace requests(program, &random, random.Uniform(400, 1000));
  while (requests.Next()) log.Append(line, random.Between(200, sizeof(line)));
  return program.Done();
}
