#include "symbolize/demangle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "profile/simplify.h"

namespace heldby::symbolize {
namespace {

TEST(CapName, ALongNameKeepsBothEnds) {
  const std::string type(3000, 'x');
  const std::string name = CapName("Keeper<" + type + ">::Leaks(int)");
  EXPECT_LE(name.size(), kMaxNameBytes);
  EXPECT_TRUE(name.starts_with("Keeper<xxx")) << name;
  EXPECT_TRUE(name.ends_with("xxx>::Leaks(int)")) << name;
  EXPECT_NE(name, CapName("Keeper<" + type + ">::Innocent(int)"));
}

TEST(CapName, AShortNameStaysAsItIs) { EXPECT_EQ(CapName("main"), "main"); }

TEST(CapName, CutsBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "\xc3\xa4";  // U+00E4, two bytes
  for (int shift = 0; shift < 3; ++shift) {
    text.insert(text.begin(), 'a');
    const std::string name = CapName(text);
    const std::size_t dots = name.find("...");
    ASSERT_NE(dots, std::string::npos);
    EXPECT_NE(static_cast<unsigned char>(name[dots - 1]), 0xc3)
        << "half a character before the cut";
    EXPECT_NE(static_cast<unsigned char>(name[dots + 3]), 0xa4) << "half a character behind it";
  }
}

TEST(Demangle, CloneSuffixesAreDropped) {
  EXPECT_EQ(Demangle("_Z3foov.part.0"), "foo()");
  EXPECT_EQ(Demangle("helper.constprop.0"), "helper");
}

TEST(Demangle, ALongNameLosesItsInnerTemplateListsAndKeepsItsBrackets) {
  // void a::Hold<a::Box<int>, a::Box<int>, ...>(char const*): S2_ is the first of them again.
  std::string mangled = "_ZN1a4HoldINS_3BoxIiEE";
  for (int i = 0; i < 200; ++i) mangled += "S2_";
  const std::string name = Demangle(mangled + "EEvPKc");
  EXPECT_LE(name.size(), kMaxNameBytes);
  EXPECT_EQ(std::ranges::count(name, '<'), std::ranges::count(name, '>')) << name;
  EXPECT_NE(name.find("<...>"), std::string::npos) << name;
  EXPECT_EQ(SimplifyFunctionName(name), "a::Hold") << name;
}

// As g++ 12 names what co_await resumes: a function, a template, a lambda.
TEST(Demangle, ACoroutineIsCalledAsItsFunction) {
  EXPECT_EQ(Demangle("_ZN1a4LoopEPZNS_4LoopEiE18_ZN1a4LoopEi.Frame.actor"), "a::Loop(int)");
  EXPECT_EQ(Demangle("_ZN1a4LoopEPZNS_4LoopEiE18_ZN1a4LoopEi.Frame.destroy"), "a::Loop(int)");
  EXPECT_EQ(Demangle("_ZN1a2OfEPZNS_2OfIdEENS_1TET_E26_ZN1a2OfIdEENS_1TET_.Frame.actor"),
            "a::Of<double>(double)");
  EXPECT_EQ(Demangle("_ZN1a1SclEPZNKS0_clEiE18_ZNK1a1SclEi.Frame.actor"),
            "a::S::operator()(int) const");
  EXPECT_EQ(Demangle("_ZZN1a3UseEvENUliE_clEPZZNS_3UseEvENKS0_clEiE30_ZZN1a3UseEvENKUliE_clEi"
                     ".Frame.actor"),
            "a::Use()::{lambda(int)#1}::operator()(int) const");
  EXPECT_EQ(Demangle("_Z1fv"), "f()");
}

}  // namespace
}  // namespace heldby::symbolize
