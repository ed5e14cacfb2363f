#include "symbolize/debug_files.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace heldby::symbolize {
namespace {

constexpr std::uint64_t kMaxLinkedBytes = std::uint64_t{1} << 30;

std::string DirectoryOf(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

bool HasChecksum(const UniqueFd& file, std::uint32_t expected) {
  const ByteSource bytes = ByteSource::File(file.get());
  if (bytes.size() > kMaxLinkedBytes) return false;
  std::vector<unsigned char> piece(64 * 1024);
  uLong sum = crc32(0, nullptr, 0);
  for (std::uint64_t at = 0; at < bytes.size(); at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(piece.size(), bytes.size() - at));
    if (!bytes.Read(at, piece.data(), piece.size())) return false;
    sum = crc32(sum, piece.data(), static_cast<uInt>(piece.size()));
  }
  return sum == expected;
}

UniqueFd OpenByBuildId(const std::string& build_id, const std::string& root) {
  if (build_id.size() < 4) return {};
  UniqueFd file = UniqueFd::OpenFile(root + "/.build-id/" + build_id.substr(0, 2) + "/" +
                                     build_id.substr(2) + ".debug");
  if (!file.valid()) return {};
  const auto elf = ElfFile::Parse(ByteSource::File(file.get()));
  return elf && elf->BuildId() == build_id ? std::move(file) : UniqueFd();
}

UniqueFd OpenByLink(const ElfFile& file, const std::string& path, const std::string& root) {
  const Elf64_Shdr* section = file.SectionNamed(".gnu_debuglink");
  if (section == nullptr || section->sh_size < 8 || section->sh_size > 4096) return {};
  const std::string name = file.bytes().Text(
      section->sh_offset, section->sh_offset + section->sh_size, section->sh_size);
  // A name, not a path: a hostile file must not make us read elsewhere.
  if (name.empty() || name.find('/') != std::string::npos || name == "..") return {};
  const auto checksum = file.bytes().Get<std::uint32_t>(section->sh_offset +
                                                        ((name.size() + 4) & ~std::size_t{3}));
  if (!checksum) return {};
  const std::string directory = DirectoryOf(path);
  const std::string beside[] = {directory, directory + "/.debug", root + "/" + directory};
  for (std::string candidate : beside) {
    candidate.append("/").append(name);
    UniqueFd linked = UniqueFd::OpenFile(candidate);
    if (linked.valid() && HasChecksum(linked, *checksum)) return linked;
  }
  return {};
}

}  // namespace

UniqueFd OpenDebugFile(const ElfFile& file, const std::string& path,
                       const std::string& debug_root) {
  UniqueFd found = OpenByBuildId(file.BuildId(), debug_root);
  return found.valid() ? std::move(found) : OpenByLink(file, path, debug_root);
}

}  // namespace heldby::symbolize
