// heldby-symbolizer - reads DWARF for a host that should not. One request on standard input,
// the answer on standard output, both as in symbolize/wire.h; then it ends. Started by
// helper_process.cc, with limits on time and memory.

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "symbolize/dwarf_lines.h"
#include "symbolize/wire.h"

namespace {

using heldby::symbolize::Frames;

bool ReadAll(std::string* text) {
  char piece[64 * 1024];
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (text->size() + static_cast<std::size_t>(got) > heldby::symbolize::kMaxWireBytes) {
      return false;
    }
    text->append(piece, static_cast<std::size_t>(got));
  }
}

bool WriteAll(const std::string& text) {
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t put = write(STDOUT_FILENO, text.data() + sent, text.size() - sent);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    sent += static_cast<std::size_t>(put);
  }
  return true;
}

bool Answer() {
  std::string request;
  std::vector<heldby::symbolize::WireModule> modules;
  if (!ReadAll(&request) || !heldby::symbolize::DecodeRequest(request, &modules)) return false;
  bool heard = true;
  for (std::uint32_t i = 0; i < modules.size(); ++i) {
    std::string records;  // written per module: what is done survives a crash in the next
    heldby::symbolize::ReadLines(modules[i].file_fd, modules[i].debug_fd, modules[i].vaddrs,
                                 [&](std::size_t index, const Frames& frames) {
                                   records += heldby::symbolize::EncodeRecord(
                                       i, static_cast<std::uint32_t>(index), frames);
                                 });
    heard = heard && WriteAll(records);
  }
  return heard && WriteAll(heldby::symbolize::EncodeEnd());
}

}  // namespace

int main() {
  try {
    return Answer() ? 0 : 1;
  } catch (const std::exception&) {
    return 1;  // out of memory: the host goes on with names
  }
}
