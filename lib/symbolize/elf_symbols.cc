#include "symbolize/elf_symbols.h"

#include <algorithm>
#include <tuple>

namespace heldby::symbolize {
namespace {

constexpr std::uint64_t kMaxSymbols = std::uint64_t{1} << 26;
constexpr std::uint64_t kMaxSteps = std::uint64_t{1} << 26;
constexpr std::size_t kMaxNameBytes = 64 * 1024;  // templates: tens of KiB occur
constexpr std::size_t kChunkSymbols = 64 * 1024 / sizeof(Elf64_Sym);

struct Candidate {
  std::uint64_t start = 0;
  std::uint64_t size = 0;
  std::uint32_t name = 0;
  std::uint8_t rank = 0;   // 0: no candidate; else local 1, seen from outside 2
  std::uint8_t plain = 0;  // more for fewer leading underscores

  bool BetterThan(const Candidate& other) const {
    return std::tie(start, rank, size, plain) >
               std::tie(other.start, other.rank, other.size, other.plain) ||
           other.rank == 0;
  }
};

struct Slot {
  Candidate covering;     // start <= address < start + size
  Candidate unsized;      // no size; decided by what starts next
  std::uint64_t nearest;  // the last start at or before the address
};

// Weak counts as global: libc's `write` is the weak alias of `__write`.
std::uint8_t RankOf(const Elf64_Sym& symbol) {
  return ELF64_ST_BIND(symbol.st_info) == STB_LOCAL ? 1 : 2;
}

bool IsCode(const ElfFile& file, const Elf64_Sym& symbol) {
  if (symbol.st_shndx == SHN_UNDEF || symbol.st_name == 0) return false;
  const unsigned type = ELF64_ST_TYPE(symbol.st_info);
  if (type == STT_FUNC || type == STT_GNU_IFUNC) return true;
  // Assembly without .type: believed where it names code, not data.
  return type == STT_NOTYPE && symbol.st_shndx < file.sections().size() &&
         (file.sections()[symbol.st_shndx].sh_flags & SHF_EXECINSTR) != 0;
}

class Matcher {
 public:
  Matcher(const ElfFile& file, const Elf64_Shdr& names,
          std::span<const std::uint64_t> addresses)
      : file_(file), names_(names), addresses_(addresses), slots_(addresses.size()) {}

  /// False: the work is out of proportion, stop.
  bool Take(const Elf64_Sym& symbol) {
    Candidate candidate{symbol.st_value, symbol.st_size, symbol.st_name, RankOf(symbol), 0};
    auto at = static_cast<std::size_t>(
        std::lower_bound(addresses_.begin(), addresses_.end(), candidate.start) -
        addresses_.begin());
    if (at == addresses_.size()) return true;
    if (candidate.size == 0 || addresses_[at] - candidate.start < candidate.size) {
      candidate.plain = PlainnessOf(candidate.name);
    }
    slots_[at].nearest = std::max(slots_[at].nearest, candidate.start);
    if (candidate.size == 0) {
      if (candidate.BetterThan(slots_[at].unsized)) slots_[at].unsized = candidate;
      return true;
    }
    for (; at < addresses_.size() && addresses_[at] - candidate.start < candidate.size; ++at) {
      if (candidate.BetterThan(slots_[at].covering)) slots_[at].covering = candidate;
      if (++steps_ > kMaxSteps) return false;
    }
    return true;
  }

  /// What was noted at the first address after a start holds for the later ones too, until a
  /// later start: a running maximum settles it.
  std::vector<Candidate> Finish() {
    std::vector<Candidate> best;
    Candidate unsized;
    std::uint64_t nearest = 0;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].unsized.rank != 0 && slots_[i].unsized.BetterThan(unsized)) {
        unsized = slots_[i].unsized;
      }
      nearest = std::max(nearest, slots_[i].nearest);
      Candidate chosen = slots_[i].covering;
      if (chosen.rank == 0 && unsized.rank != 0 && unsized.start == nearest &&
          SameCodeSection(unsized.start, addresses_[i])) {
        chosen = unsized;
      }
      best.push_back(chosen);
    }
    return best;
  }

 private:
  // Of `malloc` and `__libc_malloc` people know the first.
  std::uint8_t PlainnessOf(std::uint32_t name) const {
    const std::string start =
        file_.bytes().Text(names_.sh_offset + name, names_.sh_offset + names_.sh_size, 4);
    const std::size_t underscores = std::min(start.find_first_not_of('_'), start.size());
    return static_cast<std::uint8_t>(8 - underscores);
  }

  bool SameCodeSection(std::uint64_t a, std::uint64_t b) const {
    for (const Elf64_Shdr& section : file_.sections()) {
      if ((section.sh_flags & SHF_EXECINSTR) != 0 && a >= section.sh_addr &&
          a - section.sh_addr < section.sh_size) {
        return b >= section.sh_addr && b - section.sh_addr < section.sh_size;
      }
    }
    return false;
  }

  const ElfFile& file_;
  const Elf64_Shdr& names_;
  std::span<const std::uint64_t> addresses_;
  std::vector<Slot> slots_;
  std::uint64_t steps_ = 0;
};

// .eh_frame_hdr in the one layout linkers write: version 1, pcrel sdata4 pointer, udata4 count,
// then pairs of sdata4 relative to the header, sorted by function start. One block of rows is
// in memory, so that neighbours in a long, sorted batch cost no reads.
class FunctionTable {
 public:
  FunctionTable(const ElfFile& file, const Elf64_Phdr& segment)
      : file_(file), base_(segment.p_vaddr), rows_(segment.p_offset + sizeof(Header)) {
    const auto header = file.bytes().Get<Header>(segment.p_offset);
    if (header && header->version == 1 && header->pointer_encoding == 0x1b &&
        header->count_encoding == 0x03 && header->table_encoding == 0x3b) {
      count_ = header->count;
    }
  }

  /// 0: none at or before the address, or the table cannot be read there.
  std::uint64_t StartOf(std::uint64_t address) {
    if (!IsInBlock(address) && !LoadBlockOf(address)) return 0;
    const auto next = std::ranges::upper_bound(block_, address, {},
                                               [this](const Row& row) { return StartAt(row); });
    return next == block_.begin() ? 0 : StartAt(*std::prev(next));
  }

 private:
  struct Header {
    std::uint8_t version, pointer_encoding, count_encoding, table_encoding;
    std::int32_t frames;
    std::uint32_t count;
  };
  struct Row {
    std::int32_t start, entry;
  };
  static constexpr std::uint64_t kBlockRows = 512;

  std::uint64_t StartAt(const Row& row) const {
    return base_ + static_cast<std::uint64_t>(static_cast<std::int64_t>(row.start));
  }

  bool IsInBlock(std::uint64_t address) const {
    return !block_.empty() && StartAt(block_.front()) <= address && address < block_limit_;
  }

  bool LoadBlockOf(std::uint64_t address) {
    std::uint64_t low = 0, high = (count_ + kBlockRows - 1) / kBlockRows;  // of blocks
    block_limit_ = ~std::uint64_t{0};
    block_.clear();
    while (low < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      const auto row = file_.bytes().Get<Row>(rows_ + middle * kBlockRows * sizeof(Row));
      if (!row) return false;
      if (StartAt(*row) <= address) {
        low = middle + 1;
      } else {
        high = middle;
        block_limit_ = StartAt(*row);
      }
    }
    if (low == 0) return false;
    const std::uint64_t first = (low - 1) * kBlockRows;
    block_.resize(std::min(kBlockRows, count_ - first));
    if (file_.bytes().Read(rows_ + first * sizeof(Row), block_.data(),
                           block_.size() * sizeof(Row))) {
      return true;
    }
    block_.clear();
    return false;
  }

  const ElfFile& file_;
  const std::uint64_t base_;
  const std::uint64_t rows_;
  std::uint64_t count_ = 0;
  std::vector<Row> block_;
  std::uint64_t block_limit_ = 0;  // where the next one starts
};

}  // namespace

std::vector<Symbol> FindSymbols(const ElfFile& file, std::uint32_t table,
                                std::span<const std::uint64_t> addresses) {
  std::vector<Symbol> found(addresses.size());
  const Elf64_Shdr* symbols = file.SectionOfType(table);
  if (symbols == nullptr || symbols->sh_entsize != sizeof(Elf64_Sym) ||
      symbols->sh_link >= file.sections().size()) {
    return found;
  }
  const Elf64_Shdr& names = file.sections()[symbols->sh_link];
  if (names.sh_type != SHT_STRTAB) return found;

  Matcher matcher(file, names, addresses);
  const std::uint64_t count = std::min(symbols->sh_size / sizeof(Elf64_Sym), kMaxSymbols);
  std::vector<Elf64_Sym> chunk(std::min<std::uint64_t>(count, kChunkSymbols));
  bool more = true;
  for (std::uint64_t done = 0; done < count && more; done += chunk.size()) {
    chunk.resize(std::min<std::uint64_t>(chunk.size(), count - done));
    if (!file.bytes().Read(symbols->sh_offset + done * sizeof(Elf64_Sym), chunk.data(),
                           chunk.size() * sizeof(Elf64_Sym))) {
      break;
    }
    for (const Elf64_Sym& symbol : chunk) {
      if (IsCode(file, symbol) && !(more = matcher.Take(symbol))) break;
    }
  }

  const std::vector<Candidate> best = matcher.Finish();
  for (std::size_t i = 0; i < best.size(); ++i) {
    if (best[i].rank == 0 || best[i].name >= names.sh_size) continue;
    found[i].start = best[i].start;
    if (i > 0 && best[i - 1].rank != 0 && best[i - 1].name == best[i].name) {
      found[i].name = found[i - 1].name;
      continue;
    }
    found[i].name = file.bytes().Text(names.sh_offset + best[i].name,
                                      names.sh_offset + names.sh_size, kMaxNameBytes);
    // .symtab carries what the linker was told ("f@@LIB_2", "f@LIB_1"), .dynsym does not.
    if (const auto at = found[i].name.find('@', 1); at != std::string::npos) {
      found[i].name.resize(at);
    }
  }
  return found;
}

std::vector<std::uint64_t> FindFunctionStarts(const ElfFile& file,
                                              std::span<const std::uint64_t> addresses) {
  std::vector<std::uint64_t> starts(addresses.size());
  const auto header = std::ranges::find(file.segments(), PT_GNU_EH_FRAME, &Elf64_Phdr::p_type);
  if (header == file.segments().end()) return starts;
  FunctionTable table(file, *header);
  for (std::size_t i = 0; i < addresses.size(); ++i) starts[i] = table.StartOf(addresses[i]);
  return starts;
}

}  // namespace heldby::symbolize
