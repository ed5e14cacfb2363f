// bench/template_heavy.cc - what the compiler gets to compile: templates of the standard
// library, many instantiations, little else. HELDBY_BENCH_SIZE scales it.
#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#ifndef HELDBY_BENCH_SIZE
#define HELDBY_BENCH_SIZE 2
#endif

namespace {

// A type of its own per number, so that nothing instantiated for one serves another.
template <int kNumber>
struct Tagged {
  int value = kNumber;
  std::string text = "tag";
  auto operator<=>(const Tagged&) const = default;
};

template <int kNumber>
struct TaggedHash {
  std::size_t operator()(const Tagged<kNumber>& tagged) const {
    return std::hash<std::string>()(tagged.text) + static_cast<std::size_t>(tagged.value);
  }
};

template <int kNumber>
int Maps(int count) {
  using Key = Tagged<kNumber>;
  std::map<Key, std::vector<std::optional<Key>>> ordered;
  std::unordered_map<Key, std::shared_ptr<Key>, TaggedHash<kNumber>> hashed;
  std::set<std::pair<Key, int>> pairs;
  for (int i = 0; i < count; ++i) {
    Key key{i, std::to_string(i)};
    ordered[key].push_back(key);
    hashed.emplace(key, std::make_shared<Key>(key));
    pairs.insert({key, i});
  }
  int sum = static_cast<int>(pairs.size());
  for (const auto& [key, list] : ordered) sum += key.value + static_cast<int>(list.size());
  for (const auto& [key, shared] : hashed) sum += shared->value;
  return sum;
}

template <int... kNumbers>
int Visit(int which, std::integer_sequence<int, kNumbers...>) {
  using Any = std::variant<Tagged<kNumbers>...>;
  const std::array<Any, sizeof...(kNumbers)> all{Any(std::in_place_index<kNumbers>)...};
  const auto sum = [](const auto& a, const auto& b) { return a.value + b.value; };
  int total = 0;
  for (const Any& other : all) {
    total += std::visit(sum, all[static_cast<std::size_t>(which) % all.size()], other);
  }
  return total;
}

// Algorithms only: clang 14 accepts neither views nor subranges of libstdc++ 12.
template <int kNumber>
int Ranges(std::vector<Tagged<kNumber>> values) {
  std::ranges::sort(values, std::greater<>(), &Tagged<kNumber>::text);
  std::stable_partition(values.begin(), values.end(),
                        [](const auto& tagged) { return tagged.value % 2 == kNumber % 2; });
  std::vector<int> numbers;
  std::ranges::transform(values, std::back_inserter(numbers),
                         [](const auto& tagged) { return tagged.value + kNumber; });
  std::ranges::nth_element(numbers, numbers.begin() + kNumber % 2);
  return std::accumulate(numbers.begin(), numbers.end(), 0) +
         static_cast<int>(std::ranges::count_if(
             values, [](const auto& tagged) { return tagged.text.size() > kNumber % 5; }));
}

template <int... kNumbers>
auto Tuples(std::integer_sequence<int, kNumbers...>) {
  auto left = std::make_tuple(Tagged<kNumbers>{}...);
  auto both = std::tuple_cat(
      left, left,
      std::make_tuple(std::function<int(int)>([](int x) { return x + sizeof...(kNumbers); })));
  return std::apply([](auto&... parts) { return sizeof...(parts); }, both);
}

template <int kNumber>
struct Traits : std::regex_traits<char> {};

template <int kNumber>
bool Matches(const std::string& text) {
  const std::basic_regex<char, Traits<kNumber>> pattern("([a-z]+)=([0-9]{1,9})(;|$)");
  return std::regex_search(text, pattern);
}

template <int kNumber>
int Everything(int count) {
  std::vector<Tagged<kNumber>> values(static_cast<std::size_t>(count));
  std::ostringstream out;
  out << Maps<kNumber>(count) << Maps<kNumber + 1000>(count) << Ranges(values);
  if constexpr (kNumber % 4 == 0) out << Matches<kNumber>("key=12;");
  return static_cast<int>(out.str().size());
}

template <int... kNumbers>
int All(int count, std::integer_sequence<int, kNumbers...>) {
  return (Everything<kNumbers>(count) + ...);
}

}  // namespace

int main(int argc, char**) {
  return All(argc, std::make_integer_sequence<int, HELDBY_BENCH_SIZE>()) +
         Visit(argc, std::make_integer_sequence<int, 4 + HELDBY_BENCH_SIZE>()) +
         static_cast<int>(Tuples(std::make_integer_sequence<int, 4 + 4 * HELDBY_BENCH_SIZE>()));
}
