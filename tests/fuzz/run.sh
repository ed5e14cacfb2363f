#!/usr/bin/env bash
# tests/fuzz/run.sh MINUTES [NAME...]
# Every parser (or those named) under libFuzzer with AddressSanitizer and UBSan, so many minutes
# each. What it finds stays in build/fuzz/: corpus-NAME/ grows from run to run, and an input that
# breaks a parser is found-NAME-*. Ends with 1 at the first of those.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
build="$root/build/fuzz"
if [[ ! "${1:-}" =~ ^[1-9][0-9]*$ ]]; then
  echo "fuzz: MINUTES is \"${1:-}\"; accepted: a whole number from 1 on" >&2
  exit 2
fi
minutes="$1"
shift
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DHELDBY_BUILD_FUZZ=ON >/dev/null
names=()
for source in "$root"/tests/fuzz/fuzz_*.cc; do
  name="$(basename "$source" .cc)"
  [[ "$name" == fuzz_smoke ]] || names+=("${name#fuzz_}")
done
if [[ $# -gt 0 ]]; then
  for name in "$@"; do
    [[ " ${names[*]} " == *" $name "* ]] ||
      { echo "fuzz: no parser \"$name\"; accepted: ${names[*]}" >&2; exit 2; }
  done
  names=("$@")
fi
cmake --build "$build" --target "${names[@]/#/fuzz_}"
for name in "${names[@]}"; do
  seeds="$root/tests/fuzz/corpus/$name"
  [[ -d "$seeds" ]] || seeds="$root/tests/golden"  # the older formats
  mkdir -p "$build/corpus-$name"
  echo "== $name, $minutes min"
  "$(find "$build" -name "fuzz_$name" -type f -perm -u+x)" "$build/corpus-$name" "$seeds" \
    -max_total_time=$((minutes * 60)) -artifact_prefix="$build/found-$name-" -print_final_stats=1 \
    -rss_limit_mb=4096 -timeout=20 2>"$build/log-$name" ||
    { tail -n 40 "$build/log-$name" >&2; exit 1; }
  grep -E "number_of_executed_units|new_units_added" "$build/log-$name"
done
