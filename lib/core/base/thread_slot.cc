#include "core/base/thread_slot.h"

namespace heldby::core {

__thread ThreadSlot thread_slot;

}  // namespace heldby::core
