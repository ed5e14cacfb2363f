#include "symbolize/wire.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace heldby::symbolize {
namespace {

constexpr std::uint32_t kMagic = 0x31534248;  // "HBS1"
constexpr std::uint32_t kEnd = 0xffffffff;
constexpr std::size_t kMaxTextBytes = 64 * 1024 - 1;

template <typename T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void PutText(const std::string& text, std::string* out) {
  const std::size_t size = std::min(text.size(), kMaxTextBytes);
  Put(static_cast<std::uint32_t>(size), out);
  out->append(text, 0, size);
}

class Reader {
 public:
  explicit Reader(std::span<const char> bytes) : bytes_(bytes) {}

  std::size_t left() const { return bytes_.size(); }

  template <typename T>
  bool Get(T* value) {
    if (bytes_.size() < sizeof(T)) return false;
    std::memcpy(value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return true;
  }

  bool GetText(std::string* text) {
    std::uint32_t size = 0;
    if (!Get(&size) || size > kMaxTextBytes || size > bytes_.size()) return false;
    text->assign(bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
    return true;
  }

 private:
  std::span<const char> bytes_;
};

bool GetFrame(Reader* reader, Frame* frame) {
  return reader->Get(&frame->line) && reader->Get(&frame->start_line) &&
         reader->GetText(&frame->name) && reader->GetText(&frame->system_name) &&
         reader->GetText(&frame->filename);
}

}  // namespace

std::string EncodeRequest(std::span<const WireModule> modules) {
  std::string out;
  Put(kMagic, &out);
  Put(static_cast<std::uint32_t>(modules.size()), &out);
  for (const WireModule& module : modules) {
    Put(module.file_fd, &out);
    Put(module.debug_fd, &out);
    Put(static_cast<std::uint32_t>(module.vaddrs.size()), &out);
    for (const std::uint64_t vaddr : module.vaddrs) Put(vaddr, &out);
  }
  return out;
}

bool DecodeRequest(const std::string& bytes, std::vector<WireModule>* modules) {
  Reader reader(bytes);
  std::uint32_t magic = 0, count = 0;
  if (!reader.Get(&magic) || magic != kMagic || !reader.Get(&count) ||
      count > kMaxWireModules) {
    return false;
  }
  for (; count > 0; --count) {
    WireModule module;
    std::uint32_t addresses = 0;
    if (!reader.Get(&module.file_fd) || !reader.Get(&module.debug_fd) ||
        !reader.Get(&addresses) || addresses > kMaxWireAddresses ||
        addresses > reader.left() / sizeof(std::uint64_t)) {
      return false;
    }
    module.vaddrs.resize(addresses);
    for (std::uint64_t& vaddr : module.vaddrs) reader.Get(&vaddr);
    if (!std::is_sorted(module.vaddrs.begin(), module.vaddrs.end())) return false;
    modules->push_back(std::move(module));
  }
  return reader.left() == 0;
}

std::string EncodeRecord(std::uint32_t module, std::uint32_t address, const Frames& frames) {
  // The last frame is the real function: of too many, the innermost calls go.
  const std::size_t skipped =
      frames.size() > kMaxWireFrames ? frames.size() - kMaxWireFrames : 0;
  std::string out;
  Put(module, &out);
  Put(address, &out);
  Put(static_cast<std::uint32_t>(frames.size() - skipped), &out);
  for (std::size_t i = skipped; i < frames.size(); ++i) {
    Put(frames[i].line, &out);
    Put(frames[i].start_line, &out);
    PutText(frames[i].name, &out);
    PutText(frames[i].system_name, &out);
    PutText(frames[i].filename, &out);
  }
  return out;
}

std::string EncodeEnd() { return EncodeRecord(kEnd, 0, {}); }

bool DecodeAnswer(std::span<const char> bytes,
                  const std::function<void(std::uint32_t, std::uint32_t, Frames)>& take) {
  Reader reader(bytes);
  for (;;) {
    std::uint32_t module = 0, address = 0, count = 0;
    if (!reader.Get(&module) || !reader.Get(&address) || !reader.Get(&count)) return false;
    if (module == kEnd) return true;
    if (count > kMaxWireFrames) return false;
    Frames frames(count);
    for (Frame& frame : frames) {
      if (!GetFrame(&reader, &frame)) return false;
    }
    take(module, address, std::move(frames));
  }
}

}  // namespace heldby::symbolize
