// exporters/http/symbols_page.h - /debug/pprof/symbol: names of addresses.
//
// Threads  any, concurrently.
// Signals  unsafe: allocates.
// Bounds   kMaxSymbolAnswerBytes; lines beyond it are counted in the last one. Names of
//          kMaxSymbolsAtOnce addresses besides.
// Source   docs/endpoint.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heldby/http.h"

namespace heldby::http {

/// 60,000 addresses, which is a full body, with names of ordinary length. A name may have 64
/// KiB, and a body may ask for it again and again.
inline constexpr std::size_t kMaxSymbolAnswerBytes = 8 << 20;

/// Addresses of one pass over the symbol tables, and names that are in memory at once: whoever
/// chooses the addresses chooses those with the longest names.
inline constexpr std::size_t kMaxSymbolsAtOnce = 1024;

/// One name per address, in their order; empty where there is none. Like heldby::SymbolNames.
using SymbolNamesFunction = std::vector<std::string> (*)(const std::vector<std::uint64_t>&);

/// `addresses`: "0x1+0x2+...". One line "0x<hex> <name>" for each that has a name.
/// They are looked up in groups: one by one, each would cost a pass over a symbol table.
[[nodiscard]] Response Symbols(std::string_view addresses, SymbolNamesFunction symbol_names);

}  // namespace heldby::http
