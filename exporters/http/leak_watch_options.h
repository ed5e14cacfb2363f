// exporters/http/leak_watch_options.h - what an endpoint remembers, as its options or the
// environment say.
//
// Threads  any.   Signals  unsafe: allocates, reads the environment.
#pragma once

#include <optional>

#include "heldby/leaks.h"
#include "heldby/status.h"

namespace heldby::http {

/// No watch: the environment says so. A bad value there is one line on stderr, and the default
/// is taken. Errors are LeakWatch::Start()'s, of options that were given.
[[nodiscard]] Result<std::optional<LeakWatch>> StartWatch(
    const std::optional<LeakWatchOptions>& given);

}  // namespace heldby::http
