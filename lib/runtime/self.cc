#include "heldby/self.h"

#include "runtime/core_access.h"

namespace heldby {

UnsampledScope::UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->enter_self();
}

UnsampledScope::~UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->leave_self();
}

void BecomeProfilerThread() {
  if (const core::CoreApi* core = runtime::Core()) core->threads->become_own();
}

}  // namespace heldby
