#include "exporters/http/symbols_page.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "exporters/http/reply.h"
#include "profile/text.h"

namespace heldby::http {
namespace {

// "0x1+0x2+17": those that are numbers, and not 0.
std::vector<std::uint64_t> ParseAddresses(std::string_view text) {
  std::vector<std::uint64_t> addresses;
  while (!text.empty()) {
    const auto plus = text.find('+');
    std::string_view word = text.substr(0, plus);
    text.remove_prefix(plus == text.npos ? text.size() : plus + 1);
    while (word.ends_with('\n') || word.ends_with('\r')) word.remove_suffix(1);
    std::uint64_t address = 0;
    const absl::string_view digits = AsPiece(word);
    const bool is_hex = word.starts_with("0x") || word.starts_with("0X");
    const bool is_number =
        is_hex ? absl::SimpleHexAtoi(digits, &address) : absl::SimpleAtoi(digits, &address);
    if (is_number && address != 0) addresses.push_back(address);
  }
  return addresses;
}

const std::string& NameOf(std::uint64_t address, const std::vector<std::uint64_t>& distinct,
                          const std::vector<std::string>& names) {
  const auto at = std::ranges::lower_bound(distinct, address) - distinct.begin();
  return names[static_cast<std::size_t>(at)];
}

std::size_t LineBytes(const std::string& name) { return name.size() + 20; }

}  // namespace

Response Symbols(std::string_view addresses, SymbolNamesFunction symbol_names) {
  const std::vector<std::uint64_t> asked = ParseAddresses(addresses);
  // pprof asks only whether the number is 0, which would mean "no symbols at all".
  std::string body = "num_symbols: 1\n";
  // Pages that stay untouched cost nothing, an answer that is copied as it grows does.
  body.reserve(std::min(asked.size() * 96, kMaxSymbolAnswerBytes) + 128);
  std::size_t left_out = 0;
  for (std::span<const std::uint64_t> rest = asked; !rest.empty();) {
    const auto group = rest.first(std::min(rest.size(), kMaxSymbolsAtOnce));
    rest = rest.subspan(group.size());
    // Each once: a body of one-digit numbers holds half a million of them.
    std::vector<std::uint64_t> distinct(group.begin(), group.end());
    std::ranges::sort(distinct);
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    const std::vector<std::string> names = symbol_names(distinct);
    if (names.size() != distinct.size()) return ErrorReply(500, "out of memory");
    for (const std::uint64_t address : group) {
      const std::string& name = NameOf(address, distinct, names);
      if (name.empty()) continue;
      if (body.size() + LineBytes(name) > kMaxSymbolAnswerBytes) {
        ++left_out;
        continue;
      }
      // The client drops a line that is not terminated, the last one too.
      absl::StrAppend(&body, "0x", absl::Hex(address), " ", name, "\n");
    }
    if (left_out == 0) continue;
    left_out += rest.size();  // of which nobody needs to know whether they have a name
    break;
  }
  // Clients skip what does not begin with an address.
  if (left_out > 0) {
    absl::StrAppend(&body, "# ", left_out, " lines left out: more than ", kMaxSymbolAnswerBytes,
                    " bytes\n");
  }
  return TextReply(std::move(body));
}

}  // namespace heldby::http
