#include "heldby/symbolize.h"

#include <exception>

#include "heldby/self.h"
#include "symbolize/symbolizer.h"

namespace heldby {
namespace {

// Never destroyed: the endpoint's threads may still ask while the process is exiting.
symbolize::Symbolizer& TheSymbolizer() {
  static auto* symbolizer = new symbolize::Symbolizer();
  return *symbolizer;
}

}  // namespace

std::string SymbolName(std::uint64_t address) {
  UnsampledScope unsampled;
  try {
    return TheSymbolizer().NameOf(address);
  } catch (const std::exception&) {
    return {};
  }
}

void SymbolizeProfile(Profile* profile) {
  UnsampledScope unsampled;
  try {
    TheSymbolizer().Symbolize(profile);
  } catch (const std::exception&) {
    // Out of memory: the addresses stay, names are a comfort.
  }
}

}  // namespace heldby
