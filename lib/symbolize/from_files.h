// symbolize/from_files.h - names for a profile of another process, which may be gone.
//
// Threads  any.
// Signals  unsafe: reads files, allocates, starts a process.
// Bounds   those of Symbolizer::Options.
// Source   docs/symbols.md. A file counts if its build id is the mapping's: what was installed
//          since the process began would give wrong names.
#pragma once

#include "heldby/profile.h"
#include "symbolize/symbolizer.h"

namespace heldby::symbolize {

/// Gives lines to locations that have none and whose file is here. Of each file that is not, or
/// is another one by now, a comment tells; its locations stay as they are. Does not throw.
void SymbolizeFromFiles(Profile* profile, const Symbolizer::Options& options = {}) noexcept;

}  // namespace heldby::symbolize
