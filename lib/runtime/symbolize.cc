#include "heldby/symbolize.h"

#include <atomic>
#include <exception>
#include <memory>

#include "heldby/self.h"
#include "profile/validate.h"
#include "symbolize/symbolizer.h"

namespace heldby {
namespace {

std::atomic<symbolize::Symbolizer*> the_symbolizer{nullptr};

// A fork may catch another thread with the symbolizer's mutex locked, and the child would wait
// for it at its first profile. The child begins with a new one; the old one's memory is the
// price.
void ForgetInChild() { the_symbolizer.store(nullptr, std::memory_order_relaxed); }

// Never destroyed: the endpoint's threads may still ask while the process is exiting. No
// function-local static: a fork in the middle of its construction would leave its guard locked.
symbolize::Symbolizer& TheSymbolizer() {
  symbolize::Symbolizer* symbolizer = the_symbolizer.load(std::memory_order_acquire);
  if (symbolizer != nullptr) return *symbolizer;
  auto mine = std::make_unique<symbolize::Symbolizer>();
  if (the_symbolizer.compare_exchange_strong(symbolizer, mine.get(),
                                             std::memory_order_acq_rel)) {
    return *mine.release();
  }
  return *symbolizer;
}

const bool fork_handler_registered = (RunInForkedChildren(&ForgetInChild), true);

}  // namespace

std::string SymbolName(std::uint64_t address) {
  UnsampledScope unsampled;
  try {
    return TheSymbolizer().NameOf(address);
  } catch (const std::exception&) {
    return {};
  }
}

std::vector<std::string> SymbolNames(const std::vector<std::uint64_t>& addresses) {
  UnsampledScope unsampled;
  try {
    return TheSymbolizer().NamesOf(addresses);
  } catch (const std::exception&) {
    return {};
  }
}

void SymbolizeProfile(Profile* profile) {
  UnsampledScope unsampled;
  try {
    if (!ValidateFormat(*profile).ok()) return;  // ids that lead nowhere
    TheSymbolizer().Symbolize(profile);
  } catch (const std::exception&) {
    // Out of memory: the addresses stay, names are a comfort.
  }
}

}  // namespace heldby
