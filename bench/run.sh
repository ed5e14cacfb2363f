#!/usr/bin/env bash
# bench/run.sh BUILD_DIR [--smoke] [NAME...]
# Every promised number beside its peers, as one Markdown table, also in BUILD_DIR/bench/report.md.
# NAME: malloc_pair free_filter stack_capture unwind_rows clang_compile heap_profile registry trace receive
# asio_spawn cpu_profile contention metrics services leak_watch; default all of them, and then the table of
# docs/performance.md is made anew. clang_instructions, ten minutes, and oom, twenty, only when named.
# --smoke: tiny iterations; says whether every benchmark runs, not what anything costs.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [[ $# -lt 1 || ! -f "$1/CMakeCache.txt" ]]; then
  sed -n 's/^# //p' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
build="$(cd "$1" && pwd)"
shift
# A smoke run is a test of a build that stands; a real one measures what the sources say now.
if [[ " $* " != *" --smoke "* ]]; then
  cmake -S "$here/.." -B "$build" -DHELDBY_BUILD_BENCH=ON >/dev/null
  cmake --build "$build" --target bench >/dev/null
fi
exec python3 -B "$here/report.py" "$build" "$@"
