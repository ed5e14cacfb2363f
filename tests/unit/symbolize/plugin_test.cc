#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "subject.h"

namespace heldby::symbolize {
namespace {

using Places = std::map<std::string, std::uint64_t>;
Places places;  // filled by the plugin's callback, which takes no context

class Plugin {
 public:
  explicit Plugin(const std::string& path) : handle_(dlopen(path.c_str(), RTLD_NOW)) {
    using Recorder = void (*)(const char*, const void*);
    EXPECT_NE(handle_, nullptr) << dlerror();
    places.clear();
    reinterpret_cast<void (*)(Recorder)>(dlsym(handle_, "Visit"))(
        [](const char* what, const void* return_address) {
          places[what] = reinterpret_cast<std::uint64_t>(return_address) - 1;
        });
  }
  ~Plugin() { Close(); }
  void Close() {
    if (handle_ != nullptr) dlclose(handle_);
    handle_ = nullptr;
  }
  const Places& calls() const { return places; }

 private:
  void* handle_;
};

std::string PathOf(const std::string& name) { return HELDBY_PLUGINS "/" + name + ".so"; }

class WithDwarf : public testing::TestWithParam<const char*> {};

TEST_P(WithDwarf, InlinedCallsAreNamedInnermostFirstWithTheirOwnLines) {
  Plugin plugin(PathOf(GetParam()));
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({plugin.calls().at("inlined")});
  symbolizer.Symbolize(&profile);

  const std::vector<std::string> names = NamesAt(profile, 0);
  ASSERT_EQ(names.size(), 3u);
  // gcc writes no linkage name, hence no "()", for what it only ever inlined.
  EXPECT_TRUE(names[0].starts_with("(anonymous namespace)::Innermost")) << names[0];
  EXPECT_TRUE(names[1].starts_with("(anonymous namespace)::Middle")) << names[1];
  EXPECT_EQ(names[2], "(anonymous namespace)::Outermost()");
  const auto& lines = profile.locations[0].lines;
  EXPECT_EQ(lines[0].line, 15);
  EXPECT_EQ(lines[1].line, 18);
  EXPECT_EQ(lines[2].line, 20);
  EXPECT_EQ(FunctionOf(profile, lines[2]).start_line, 19);
  EXPECT_TRUE(FunctionOf(profile, lines[2]).filename.ends_with("/symbolize/plugin.cc"));
  const Mapping& mapping = MappingOf(profile, 0);
  EXPECT_TRUE(mapping.has_functions && mapping.has_filenames && mapping.has_line_numbers &&
              mapping.has_inline_frames);
}

TEST_P(WithDwarf, TemplatesOperatorsAndLambdasReadAsInTheSource) {
  Plugin plugin(PathOf(GetParam()));
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({plugin.calls().at("template"), plugin.calls().at("operator"),
                                 plugin.calls().at("lambda"), plugin.calls().at("exported")});
  symbolizer.Symbolize(&profile);
  EXPECT_EQ(NamesAt(profile, 0).back(), "void (anonymous namespace)::Widget::Put<long>(long)");
  EXPECT_EQ(NamesAt(profile, 1).back(), "(anonymous namespace)::Widget::operator<(int) const");
  const std::string lambda = NamesAt(profile, 2).front();  // gcc: {lambda(int)#1}, clang: $_0
  EXPECT_TRUE(lambda.starts_with("Visit::") && lambda.ends_with("::operator()(int) const"))
      << lambda;
  EXPECT_EQ(NamesAt(profile, 3).back(), "Visit");
}

INSTANTIATE_TEST_SUITE_P(Builds, WithDwarf,
                         testing::Values("gcc5", "gcc4", "compressed", "split", "no_build_id",
                                         "linked", "clang5", "clang4"),
                         [](const auto& build) { return std::string(build.param); });

TEST(Symbolizer, WithoutDwarfNamesComeFromTheSymbolTable) {
  Plugin plugin(PathOf("names_only"));
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({plugin.calls().at("template"), plugin.calls().at("assembly")});
  symbolizer.Symbolize(&profile);
  ASSERT_EQ(NamesAt(profile, 0).size(), 1u);
  EXPECT_TRUE(NamesAt(profile, 0)[0].starts_with("void (anonymous namespace)::Widget::Put<"));
  EXPECT_EQ(NamesAt(profile, 1), (std::vector<std::string>{"AssemblyWithoutSize"}));
  EXPECT_FALSE(MappingOf(profile, 0).has_line_numbers);
}

TEST(Symbolizer, InAStrippedFileAFrameNeverTakesANeighboursName) {
  Plugin plugin(PathOf("stripped"));
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({plugin.calls().at("exported"), plugin.calls().at("inlined")});
  symbolizer.Symbolize(&profile);
  EXPECT_EQ(NamesAt(profile, 0), (std::vector<std::string>{"Visit"}));
  ASSERT_EQ(NamesAt(profile, 1).size(), 1u);
  EXPECT_TRUE(NamesAt(profile, 1)[0].starts_with("stripped.so+0x")) << NamesAt(profile, 1)[0];
  EXPECT_EQ(symbolizer.NameOf(plugin.calls().at("inlined")), "");
}

TEST(Symbolizer, ANameIsWithoutTheVersionThatALinkerAppends) {
  void* handle = dlopen(PathOf("versioned").c_str(), RTLD_NOW);
  ASSERT_NE(handle, nullptr) << dlerror();
  const auto at = reinterpret_cast<std::uint64_t>(dlsym(handle, "Versioned"));
  ASSERT_NE(at, 0u);
  Symbolizer symbolizer(WithHelper());
  EXPECT_EQ(symbolizer.NameOf(at), "Versioned");
  Profile profile = BareProfile({at});
  symbolizer.Symbolize(&profile);
  EXPECT_EQ(NamesAt(profile, 0), (std::vector<std::string>{"Versioned"}));
  dlclose(handle);
}

TEST(Symbolizer, AnUnloadedPluginKeepsItsNamesOnceItWasSeen) {
  Plugin plugin(PathOf("gcc5"));
  Symbolizer symbolizer(WithHelper());
  symbolizer.NoteModules();
  plugin.Close();
  Profile profile = BareProfile({plugin.calls().at("inlined")});
  symbolizer.Symbolize(&profile);
  EXPECT_TRUE(MappingOf(profile, 0).filename.ends_with("/gcc5.so"));
  EXPECT_EQ(NamesAt(profile, 0).back(), "(anonymous namespace)::Outermost()");
}

TEST(Symbolizer, AFileReplacedOnDiskLendsNoNames) {
  const std::string path =
      testing::TempDir() + "heldby_replaced_" + std::to_string(getpid()) + ".so";
  std::filesystem::copy_file(PathOf("gcc5"), path);
  Plugin plugin(path);
  std::filesystem::remove(path);
  std::filesystem::copy_file(PathOf("clang5"), path);
  Symbolizer symbolizer(WithHelper());
  Profile profile = BareProfile({plugin.calls().at("inlined")});
  symbolizer.Symbolize(&profile);
  std::filesystem::remove(path);
  // With the right to use map_files, the mapped file itself answers; without, nothing does.
  const std::string name = NamesAt(profile, 0).back();
  EXPECT_TRUE(name == "(anonymous namespace)::Outermost()" ||
              name.find(".so+0x") != std::string::npos)
      << name;
  EXPECT_EQ(MappingOf(profile, 0).filename, path);
}

}  // namespace
}  // namespace heldby::symbolize
