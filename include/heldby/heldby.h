// heldby/heldby.h - everything at once, for the impatient.
//
// Threads, Signals, Self, Units, Source: see each header.
#pragma once

#include "heldby/connection.h"  // IWYU pragma: export
#include "heldby/custom_profile.h"
#include "heldby/debug_server.h"  // IWYU pragma: export
#include "heldby/goroutine.h"
#include "heldby/heap.h"       // IWYU pragma: export
#include "heldby/http.h"       // IWYU pragma: export
#include "heldby/labels.h"     // IWYU pragma: export
#include "heldby/profile.h"    // IWYU pragma: export
#include "heldby/self.h"       // IWYU pragma: export
#include "heldby/status.h"     // IWYU pragma: export
#include "heldby/symbolize.h"  // IWYU pragma: export
#include "heldby/task.h"       // IWYU pragma: export
