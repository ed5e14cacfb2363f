#include "heldby/self.h"

#include <pthread.h>

#include "runtime/core_access.h"

namespace heldby {

UnsampledScope::UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->enter_self();
}

UnsampledScope::~UnsampledScope() {
  if (const core::CoreApi* core = runtime::Core()) core->leave_self();
}

void RunInForkedChildren(void (*function)()) {
  const core::CoreApi* core = runtime::Core();
  if (core == nullptr || !core->run_in_forked_children(function)) {
    pthread_atfork(nullptr, nullptr, function);
  }
}

void BecomeProfilerThread() {
  if (const core::CoreApi* core = runtime::Core()) core->threads->become_own();
}

}  // namespace heldby
