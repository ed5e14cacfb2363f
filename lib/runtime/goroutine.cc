#include "heldby/goroutine.h"

#include <exception>
#include <string>

#include "collect/goroutines.h"
#include "heldby/self.h"
#include "heldby/symbolize.h"
#include "profile/wait_reason.h"
#include "runtime/core_access.h"

namespace heldby {

Result<Profile> SnapshotGoroutines(const GoroutineOptions& options) {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr) {
    return Status(StatusCode::kUnavailable, "the core is missing or of another version");
  }
  try {
    Profile profile = collect::CollectGoroutines(*core, options);
    SymbolizeProfile(&profile);
    NameFutexWaits(&profile);
    return profile;
  } catch (const std::exception& error) {  // bad_alloc above all
    return Status(StatusCode::kResourceExhausted,
                  std::string("cannot build the goroutine profile: ") + error.what());
  }
}

std::size_t CountGoroutines() {
  UnsampledScope unsampled;
  const core::CoreApi* core = runtime::Core();
  return core == nullptr ? 0 : collect::CountGoroutines(*core);
}

}  // namespace heldby
