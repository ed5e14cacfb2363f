// SimplifyFunctionName() against the shortening in the real `go tool pprof`.
#include <cxxabi.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "heldby/profile.h"
#include "profile/builder.h"
#include "profile/simplify.h"
#include "tests/unit/pprof/real_reader.h"

namespace heldby {
namespace {

std::string Demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 ? text.get() : name;
}

TEST(SimplifyFunctionName, GivesWhatGoToolPprofMakesOfTheMangledName) {
  ProfileBuilder builder(std::vector<ValueType>{{"samples", "count"}});
  const MappingId app = builder.AddMapping({0x1000, 0x900000, 0, "/srv/app", "", 1, 1, 1, 1});
  std::vector<std::string> names;
  std::istringstream file(ReadFile(HELDBY_GOLDEN_DIR "/mangled_names.txt"));
  for (std::string name; std::getline(file, name);) names.push_back(name);
  ASSERT_GT(names.size(), 100u);
  for (std::size_t i = 0; i < names.size(); ++i) {
    // Equal name and system name ask pprof to demangle and shorten.
    const FunctionId function = builder.AddFunction(names[i]);
    builder.AddSample({builder.AddLocation(app, 0x1000 + i, {{function, 1}})},
                      std::vector<std::int64_t>{1});
  }
  const ScratchDir dir;
  const std::string path = dir.Write("names.pb.gz", *EncodePprof(std::move(builder).Build()));
  std::istringstream raw(RunOrFail("go tool pprof -raw " + path));

  std::map<std::string, std::string> shortened;  // by mangled name
  const std::regex line_pattern("^ +\\d+: 0x[0-9a-f]+ M=1 (.*) :1 s=0\\((.*)\\)$");
  for (std::string line; std::getline(raw, line);) {
    if (std::smatch match; std::regex_match(line, match, line_pattern)) {
      shortened[match[2]] = match[1];
    }
  }
  ASSERT_EQ(shortened.size(), names.size());
  for (const auto& [mangled, wanted] : shortened) {
    EXPECT_EQ(SimplifyFunctionName(Demangled(mangled)), wanted) << Demangled(mangled);
  }
}

}  // namespace
}  // namespace heldby
