#include "profile/simplify.h"

#include <gtest/gtest.h>

#include <string>

namespace heldby {
namespace {

TEST(SimplifyFunctionName, DropsArgumentsTemplatesAndReturnTypes) {
  EXPECT_EQ(SimplifyFunctionName("main"), "main");
  EXPECT_EQ(SimplifyFunctionName("app::Load(int, char const*)"), "app::Load");
  EXPECT_EQ(SimplifyFunctionName("app::Foo::Size() const &"), "app::Foo::Size");
  EXPECT_EQ(SimplifyFunctionName("std::vector<int, std::allocator<int> >::push_back(int&&)"),
            "std::vector::push_back");
  EXPECT_EQ(SimplifyFunctionName("std::vector<int, std::allocator<int> > const& Get<int>(int)"),
            "Get");
  EXPECT_EQ(
      SimplifyFunctionName("decltype ({parm#1}+{parm#2}) ns::add<int, double>(int, double)"),
      "ns::add");
  EXPECT_EQ(SimplifyFunctionName("void av<(char)62>()"), "av");
  EXPECT_EQ(SimplifyFunctionName("int (*fpt<int>(int))(int)"), "fpt");
  EXPECT_EQ(SimplifyFunctionName("host(int) [clone .cold]"), "host");
}

TEST(SimplifyFunctionName, OperatorsKeepTheirBrackets) {
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator()(int) const"), "ns::Foo::operator()");
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator[](int)"), "ns::Foo::operator[]");
  EXPECT_EQ(SimplifyFunctionName("bool ns::Foo::operator< <ns::Foo>(ns::Foo)"),
            "ns::Foo::operator<");
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator<<(int)"), "ns::Foo::operator<<");
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator<=>(int)"), "ns::Foo::operator<=>");
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator->*(int)"), "ns::Foo::operator->*");
  EXPECT_EQ(SimplifyFunctionName("operator new[](unsigned long)"), "operator new[]");
  EXPECT_EQ(SimplifyFunctionName("ns::Foo::operator unsigned long() const"),
            "ns::Foo::operator unsigned long");
  EXPECT_EQ(
      SimplifyFunctionName("ns::Foo::operator std::vector<int, std::allocator<int> ><int>()"),
      "ns::Foo::operator std::vector");
  EXPECT_EQ(SimplifyFunctionName("my_operator(int)"), "my_operator");
}

TEST(SimplifyFunctionName, LambdasAndAnonymousNamespacesStay) {
  EXPECT_EQ(SimplifyFunctionName("(anonymous namespace)::S::m()"),
            "(anonymous namespace)::S::m");
  EXPECT_EQ(SimplifyFunctionName("void (anonymous namespace)::S::t<int>(int)"),
            "(anonymous namespace)::S::t");
  EXPECT_EQ(SimplifyFunctionName("host(int)::{lambda(int)#1}::operator()(int) const"),
            "host(int)::{lambda(int)#1}::operator()");
  EXPECT_EQ(SimplifyFunctionName("host(int)::{lambda(auto:1)#2}::operator()<int>(int) "
                                 "const::{lambda()#1}::operator()() const"),
            "host(int)::{lambda(auto:1)#2}::operator()(int) const::{lambda()#1}::operator()");
  EXPECT_EQ(SimplifyFunctionName("main::{lambda(int)#2}& std::forward<main::{lambda(int)#2}&>("
                                 "std::remove_reference<main::{lambda(int)#2}&>::type&)"),
            "std::forward");
}

TEST(SimplifyFunctionName, BrokenBracketsEndNowhereAndLoseNothing) {
  EXPECT_EQ(SimplifyFunctionName("f<int"), "f<int");
  EXPECT_EQ(SimplifyFunctionName("f(int"), "f(int");
  EXPECT_EQ(SimplifyFunctionName(">)}"), ">)}");
  EXPECT_EQ(SimplifyFunctionName(""), "");
  EXPECT_EQ(SimplifyFunctionName("operator"), "operator");
  const std::string deep(100'000, '<');
  EXPECT_EQ(SimplifyFunctionName(deep), deep);
}

TEST(WithTemplateDepth, EmptiesTheListsBelowAndKeepsTheRest) {
  const std::string name = "S<a<b>, c> f<d<e<g>>>(h<i<j>> const&, int (*)(k))";
  EXPECT_EQ(WithTemplateDepth(name, 0), "S<...> f<...>(h<...> const&, int (*)(k))");
  EXPECT_EQ(WithTemplateDepth(name, 1), "S<a<...>, c> f<d<...>>(h<i<...>> const&, int (*)(k))");
  EXPECT_EQ(WithTemplateDepth(name, 9), name);
  EXPECT_EQ(WithTemplateDepth("bool operator< <int>(S<a>, int)", 0),
            "bool operator< <...>(S<...>, int)");
  EXPECT_EQ(WithTemplateDepth("f<(3>2), a<b>>()", 1), "f<(3>2), a<...>>()");
  EXPECT_EQ(WithTemplateDepth("f<int", 0), "f<int");
  const std::string deep(100'000, '<');
  EXPECT_EQ(WithTemplateDepth(deep, 3), deep);
}

}  // namespace
}  // namespace heldby
