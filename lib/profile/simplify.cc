#include "profile/simplify.h"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace heldby {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

bool IsWord(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// "operator" as a word of its own at `at`.
bool IsOperatorWord(std::string_view name, std::size_t at) {
  constexpr std::string_view kWord = "operator";
  return name.substr(at).starts_with(kWord) && (at == 0 || !IsWord(name[at - 1])) &&
         (at + kWord.size() == name.size() || !IsWord(name[at + kWord.size()]));
}

// The end of an operator's name that begins at `at`, when it is made of brackets; otherwise the
// end of the word "operator": what follows is a harmless sign, or a type.
std::size_t EndOfOperator(std::string_view name, std::size_t at) {
  constexpr std::array<std::string_view, 14> kBrackets = {
      "()", "[]", "<=>", "<<=", ">>=", "->*", "<<", ">>", "<=", ">=", "->", "<", ">", ","};
  at += std::string_view("operator").size();
  for (std::string_view sign : kBrackets) {
    if (name.substr(at).starts_with(sign)) return at + sign.size();
  }
  return at;
}

// The end of the group whose opening bracket is at `at`; kNone if nothing closes it. Only a
// template list counts '<': within parentheses, as in (3>2), it may be a comparison.
// A stack of closers, not recursion: names come from files too.
std::size_t EndOfGroup(std::string_view name, std::size_t at) {
  std::string closers;
  while (at < name.size()) {
    const char c = name[at];
    if (IsOperatorWord(name, at)) {
      at = EndOfOperator(name, at);
      continue;
    }
    const bool in_template = closers.empty() || closers.back() == '>';
    if (c == '(') {
      closers += ')';
    } else if (c == '{') {
      closers += '}';
    } else if (c == '<' && in_template) {
      closers += '>';
    } else if (!closers.empty() && c == closers.back()) {
      closers.pop_back();
      if (closers.empty()) return at + 1;
    }
    ++at;
  }
  return kNone;
}

// Everything but template lists, at any depth.
std::string WithoutTemplateLists(std::string_view name) {
  std::string out;
  for (std::size_t at = 0; at < name.size();) {
    if (IsOperatorWord(name, at)) {
      const std::size_t end = EndOfOperator(name, at);
      out += name.substr(at, end - at);
      at = end;
      // The demangler sets "operator< <int>" apart.
      if (name.substr(at).starts_with(" <")) ++at;
      continue;
    }
    if (name[at] == '<') {
      const std::size_t end = EndOfGroup(name, at);
      if (end == kNone) return std::string(name);
      at = end;
      continue;
    }
    out += name[at++];
  }
  return out;
}

}  // namespace

std::string WithTemplateDepth(std::string_view name, std::size_t depth) {
  std::string out;
  for (std::size_t at = 0; at < name.size();) {
    std::size_t end = at + 1;
    if (IsOperatorWord(name, at)) {
      end = EndOfOperator(name, at);
    } else if (name[at] == '<') {
      end = EndOfGroup(name, at);
      if (end == kNone) return out.append(name.substr(at));
      out += '<';
      out +=
          depth == 0 ? "..." : WithTemplateDepth(name.substr(at + 1, end - at - 2), depth - 1);
      at = end - 1;
    }
    out.append(name.substr(at, end - at));
    at = end;
  }
  return out;
}

namespace {

// After an argument list: " const", "&" ... up to "::" mean that it is the list of an enclosing
// function, which is part of the name. Returns where the "::" is.
std::size_t EnclosingScopeEnd(std::string_view name, std::size_t at) {
  constexpr std::array<std::string_view, 4> kQualifiers = {" const", " volatile", " &&", " &"};
  for (bool again = true; again;) {
    again = false;
    for (std::string_view qualifier : kQualifiers) {
      if (name.substr(at).starts_with(qualifier)) {
        at += qualifier.size();
        again = true;
      }
    }
  }
  return name.substr(at).starts_with("::") ? at : kNone;
}

// "(*" or "(&" after a return type: the declarator of a function that returns a pointer to a
// function has its name inside, as in `int (*handler(char))(long)`.
bool IsDeclarator(std::string_view group) {
  return group.starts_with("(*") || group.starts_with("(&");
}

// Cuts `name`, which has no template lists, to the function's qualified name.
std::string_view QualifiedName(std::string_view name) {
  std::size_t begin = 0;  // after the return type
  for (std::size_t at = 0; at < name.size();) {
    if (IsOperatorWord(name, at)) {
      at = EndOfOperator(name, at);
      // A conversion's target type is its name: "operator unsigned long".
      while (at < name.size() && name[at] != '(') ++at;
      continue;
    }
    if (name[at] == ' ') {
      if (name.substr(at).starts_with(" [clone ")) return name.substr(0, at);
      begin = ++at;
      continue;
    }
    if (name[at] != '(' && name[at] != '{') {
      ++at;
      continue;
    }
    const std::size_t end = EndOfGroup(name, at);
    if (end == kNone) return name;
    const std::string_view group = name.substr(at, end - at);
    const bool is_type = name.substr(begin, at - begin) == "decltype" ||
                         name.substr(0, at).ends_with("decltype ");
    if (group[0] == '{' || group == "(anonymous namespace)" || is_type) {
      at = end;
    } else if (const std::size_t scope = EnclosingScopeEnd(name, end); scope != kNone) {
      at = scope;
    } else if (IsDeclarator(group) && at == begin) {
      name = group.substr(2, group.size() - 3);
      begin = at = 0;
    } else {
      return name.substr(begin, at - begin);
    }
  }
  return name;  // no argument list: a C function, a variable, or not a name at all
}

bool IsThunk(std::string_view name) {
  constexpr std::array<std::string_view, 4> kPrefixes = {
      "virtual thunk to ", "non-virtual thunk to ", "covariant return thunk to ",
      "transaction clone for "};
  for (std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace

std::string SimplifyFunctionName(std::string_view demangled) {
  std::string name = WithoutTemplateLists(demangled);
  if (IsThunk(name)) return name;  // pprof leaves these their arguments
  return std::string(QualifiedName(name));
}

}  // namespace heldby
