// core/base/error_line.h - a line of ours on the host's standard error, if it does no harm
// there.
//
// It is left out, and counted, where it would wait for its reader, where nobody reads it, and
// where the number is standard error's no more: a host that has closed its own is given 2 for
// the next file, which may be its data.
//
// Threads  any.   Signals  safe.   Allocates  never.   errno kept.   Cancellation: no point.
// Progress one write that does not wait.
#pragma once

#include <sys/uio.h>

#include <cstdint>

namespace heldby::core {

/// By the core's constructor: what standard error is when the program begins. Other than that
/// it may become a log: a file that is appended to, or what standard output goes to.
void NoteStandardError();

/// Whole, or counted as left out.
void WriteErrorLine(const iovec* parts, int count);

std::uint64_t ErrorLinesLeftOut();

}  // namespace heldby::core
