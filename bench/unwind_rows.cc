// What reading unwind rows costs, on a large module that nobody here wrote.
//
//   unwind_rows LIBRARY LOOKUPS
//
// Prints "<rows> <functions> <rows read per second> <ns of a rule at a random place> <ns of the
// same in a table made beforehand> <bytes of that table> <ns to make it>".
//
// The table is the idea that was rejected: eight bytes a row, pc offset and packed rule,
// sorted, searched by halves. It is here so that the comparison can be made again.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "core/stack/cfi.h"
#include "core/stack/eh_frame.h"
#include "core/stack/rule_cache.h"

namespace heldby::bench {
namespace {

using Clock = std::chrono::steady_clock;
using core::Entry;
using core::Module;
using core::Reader;

constexpr core::CfiRegisters kRegisters = {
    .frame_pointer = 6, .stack_pointer = 7, .return_address = 16};

double NsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

// The sorted table of .eh_frame_hdr: its number of functions and where each begins.
std::vector<std::uintptr_t> Functions(const Module& module) {
  std::uint32_t count;
  std::memcpy(&count, module.eh_frame_hdr + 8, sizeof(count));
  std::vector<std::uintptr_t> functions;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::int32_t offset;
    std::memcpy(&offset, module.eh_frame_hdr + 12 + std::size_t{i} * 8, sizeof(offset));
    functions.push_back(reinterpret_cast<std::uintptr_t>(module.eh_frame_hdr) +
                        static_cast<std::uintptr_t>(static_cast<std::intptr_t>(offset)));
  }
  return functions;
}

// Where the rows of a function begin.
void AddRows(const Entry& entry, std::vector<std::uintptr_t>* rows) {
  std::uintptr_t at = entry.pc_begin;
  rows->push_back(at);
  for (Reader reader(entry.program, entry.program_end); !reader.empty();) {
    const auto op = reader.Get<std::uint8_t>();
    std::uint64_t delta = 0;
    if (op >> 6 == 1) delta = op & 0x3f;
    if (op >> 6 == 2) reader.Uleb();
    if (op == 0x02) delta = reader.Get<std::uint8_t>();
    if (op == 0x03) delta = reader.Get<std::uint16_t>();
    if (op == 0x04) delta = reader.Get<std::uint32_t>();
    if (op == 0x05 || op == 0x09 || op == 0x0c || op == 0x11 || op == 0x12 || op == 0x14 ||
        op == 0x15) {
      reader.Uleb();
      reader.Uleb();
    }
    if (op == 0x06 || op == 0x07 || op == 0x08 || op == 0x0d || op == 0x0e || op == 0x13 ||
        op == 0x2e) {
      reader.Uleb();
    }
    if (op == 0x0f) reader.Skip(reader.Uleb());
    if (op == 0x10 || op == 0x16) {
      reader.Uleb();
      reader.Skip(reader.Uleb());
    }
    if (delta != 0) rows->push_back(at += delta * entry.code_align);
  }
}

struct TableRow {
  std::uint32_t offset;
  std::uint32_t rule;  // as much of it as an unwinder would pack into four bytes
};

int Run(const char* library, long lookups) {
  void* loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  void* symbol = loaded != nullptr ? dlsym(loaded, "LLVMContextCreate") : nullptr;
  Module module;
  if (symbol == nullptr || !FindModule(reinterpret_cast<std::uintptr_t>(symbol), &module)) {
    std::fprintf(stderr, "unwind_rows: cannot use %s: %s\n", library, dlerror());
    return 1;
  }
  std::vector<std::uintptr_t> rows;
  std::vector<std::uintptr_t> last_of_function;
  for (const std::uintptr_t function : Functions(module)) {
    Entry entry;
    if (!ReadEntry(module, function, &entry)) continue;
    AddRows(entry, &rows);
    last_of_function.push_back(rows.back());
  }

  // A rule at the last row of a function reads all its rows; all functions, all rows.
  std::uint64_t sum = 0;
  auto start = Clock::now();
  for (const std::uintptr_t pc : last_of_function) {
    sum += static_cast<std::uint64_t>(FindRule(module, pc, kRegisters).cfa_offset);
  }
  const double rows_per_second = static_cast<double>(rows.size()) / NsSince(start) * 1e9;

  std::mt19937_64 random(20261123);
  std::vector<std::uintptr_t> places;
  for (long i = 0; i < lookups; ++i) places.push_back(rows[random() % rows.size()]);
  start = Clock::now();
  for (const std::uintptr_t pc : places) {
    sum += static_cast<std::uint64_t>(FindRule(module, pc, kRegisters).cfa_offset);
  }
  const double rule_ns = NsSince(start) / static_cast<double>(lookups);

  start = Clock::now();
  std::vector<TableRow> table;
  table.reserve(rows.size());
  const auto base = reinterpret_cast<std::uintptr_t>(module.begin);
  for (const std::uintptr_t pc : rows) {
    const core::RuleWord word = PackRule(FindRule(module, pc, kRegisters));
    table.push_back(
        {static_cast<std::uint32_t>(pc - base), static_cast<std::uint32_t>(word ^ word >> 32)});
  }
  std::sort(table.begin(), table.end(),
            [](const TableRow& a, const TableRow& b) { return a.offset < b.offset; });
  const double make_ns = NsSince(start);
  start = Clock::now();
  for (const std::uintptr_t pc : places) {
    const auto offset = static_cast<std::uint32_t>(pc - base);
    const auto found = std::upper_bound(
        table.begin(), table.end(), offset,
        [](std::uint32_t wanted, const TableRow& row) { return wanted < row.offset; });
    sum += (found - 1)->rule;
  }
  const double table_ns = NsSince(start) / static_cast<double>(lookups);
  asm volatile("" : : "r"(sum));
  std::printf("%zu %zu %.0f %.1f %.1f %zu %.0f\n", rows.size(), last_of_function.size(),
              rows_per_second, rule_ns, table_ns, table.size() * sizeof(TableRow), make_ns);
  return 0;
}

}  // namespace
}  // namespace heldby::bench

int main(int argc, char** argv) {
  const long lookups = argc == 3 ? std::atol(argv[2]) : 0;
  if (lookups <= 0) {
    std::fprintf(stderr, "usage: %s LIBRARY LOOKUPS\n", argv[0]);
    return 2;
  }
  return heldby::bench::Run(argv[1], lookups);
}
