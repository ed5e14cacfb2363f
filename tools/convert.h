// tools/convert.h - `heldby convert IN OUT`.
//
// Threads  one.
// Source   exporters/pprof/convert.h says what is accepted.
#pragma once

namespace heldby {

/// argv[0] is the word "convert" itself. Writes gzip-compressed
/// profile.proto to OUT, which appears whole or not at all; "-" is standard input or output.
/// Returns the exit code: 0 done, 1 input or output failed, 2 wrong usage.
int ConvertMain(int argc, char** argv);

}  // namespace heldby
