#include "watch/limits.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace heldby::watch {
namespace {

int LastDescriptor() {
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(fd);
  return fd - 1;
}

// As daemons do: what they open next has the same numbers.
TEST(Limits, NumbersInFilesOfTheProgramAreNotLimits) {
  const std::string path = std::filesystem::absolute("limits_test.numbers");
  std::ofstream(path) << "123456789 123456789";
  const int before = LastDescriptor();
  auto limits = std::make_unique<Limits>();
  limits->Open();
  const int last = LastDescriptor();
  ASSERT_GT(last, before);
  for (int fd = before + 1; fd <= last; ++fd) close(fd);
  std::vector<int> own;
  for (int fd = before + 1; fd <= last; ++fd) {
    own.push_back(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  std::vector<char> buffer(64 << 10);
  for (const Reading& reading : limits->Read(1, buffer)) EXPECT_FALSE(reading.valid);
  limits.reset();
  struct stat facts {};
  for (const int fd : own) EXPECT_EQ(fstat(fd, &facts) | close(fd), 0);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace heldby::watch
