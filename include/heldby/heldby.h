// heldby/heldby.h - everything at once, for the impatient.
//
// Threads, Signals, Self, Units, Source: see each header.
#pragma once

#include "heldby/connection.h"      // IWYU pragma: export
#include "heldby/contention.h"      // IWYU pragma: export
#include "heldby/cpu.h"             // IWYU pragma: export
#include "heldby/custom_profile.h"  // IWYU pragma: export
#include "heldby/debug_server.h"    // IWYU pragma: export
#include "heldby/goroutine.h"       // IWYU pragma: export
#include "heldby/heap.h"            // IWYU pragma: export
#include "heldby/http.h"            // IWYU pragma: export
#include "heldby/labels.h"          // IWYU pragma: export
#include "heldby/leaks.h"           // IWYU pragma: export
#include "heldby/memory_watch.h"    // IWYU pragma: export
#include "heldby/profile.h"         // IWYU pragma: export
#include "heldby/propagate.h"       // IWYU pragma: export
#include "heldby/self.h"            // IWYU pragma: export
#include "heldby/status.h"          // IWYU pragma: export
#include "heldby/symbolize.h"       // IWYU pragma: export
#include "heldby/task.h"            // IWYU pragma: export
#include "heldby/thread.h"          // IWYU pragma: export
#include "heldby/trace.h"           // IWYU pragma: export
#include "heldby/wall.h"            // IWYU pragma: export
