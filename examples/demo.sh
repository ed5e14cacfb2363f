#!/usr/bin/env bash
# demo.sh BUILD: the slow-reader leak, seen from outside with curl and go tool pprof; then its fix;
# then the same leak in a program that was built without heldby; then a client that forgets to close
# response bodies. Each figure shown is checked, and the demo fails if one is not what the text beside
# it says. Some seconds; needs 1 GB of memory.
set -euo pipefail

build="${1:?usage: examples/demo.sh BUILD (for example build/release)}"
build="$(cd "$build" && pwd)"
readonly calls=200
readonly file_mb=200 clients=3   # MB are 2^20 bytes throughout, as in go tool pprof
readonly held_mb=$((file_mb * clients))

work="$(mktemp -d)"
# pprof keeps a copy of every profile it fetches, below HOME unless told otherwise.
export HOME="$work" PPROF_TMPDIR="$work/pprof" TMPDIR="$work"
unset HELDBY_LISTEN HELDBY_SAMPLE_BYTES HELDBY_DUMP_AT_EXIT HELDBY_TOKEN_FILE HELDBY_LOG HELDBY_DISABLE

running=()
stop() {
  local pid left=()
  for pid in "$@"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  for pid in "${running[@]}"; do
    [[ " $* " == *" $pid "* ]] || left+=("$pid")
  done
  running=("${left[@]}")
}
finish() {
  stop "${running[@]}"
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

heading() { printf '\n== %s\n\n' "$*"; }
text() { printf '%s\n' "$@"; }
fail() {
  printf '\ndemo: %s\n' "$*" >&2
  exit 1
}
show() {  # the command as one would type it, then what it says
  printf '   $ %s\n' "$1"
  sed 's/^/   | /'
}

# until_true SECONDS WHAT COMMAND...: a bounded wait.
until_true() {
  local tries=$(($1 * 10)) what="$2"
  shift 2
  until "$@"; do
    ((tries-- > 0)) || fail "waited in vain: $what"
    sleep 0.1
  done
}

# start LOG COMMAND...: in the background; its id is in $pid.
start() {
  local log="$1"
  shift
  : >"$log"
  "$@" >"$log" 2>&1 <&9 9>&- &
  pid=$!
  running+=("$pid")
}
port_in() { sed -n 's|^downloads on http://127.0.0.1:\([0-9]*\)/$|\1|p' "$1"; }
says() { grep -q "$1" "$2"; }

# Stuck, as the kernel sees it: the server's end has bytes that it cannot send, on every connection.
stuck_connections() {
  awk -v port="$(printf ':%04X' "$1")" '
    $2 ~ port "$" && $4 == "01" { split($5, queue, ":"); if (queue[1] !~ /^0+$/) ++stuck }
    END { print stuck + 0 }' /proc/net/tcp
}
all_stuck() { [[ "$(stuck_connections "$1")" -eq $clients ]]; }
start_stuck_clients() {  # PORT; their id is in $stuck
  # They leave when their standard input ends; descriptor 9 never does.
  "$build/bin/stuck_client" --port="$1" --count=$clients --seconds=120 <&9 >/dev/null &
  stuck=$!
  running+=("$stuck")
  until_true 30 "$clients connections with unsent bytes" all_stuck "$1"
}
resident_mb() { awk '/^VmRSS:/ { print int($2 / 1024) }' "/proc/$1/status"; }

top() { go tool pprof -top "$@" 2>/dev/null | cut -c 1-100; }
total_mb() {  # of a -top report on standard input
  sed -n 's/^Showing nodes accounting for .* of \(.*\) total$/\1/p' | awk '
    { n = $1 + 0; if (/GB/) n *= 1024; else if (/kB/) n /= 1024; else if (!/MB/) n /= 1048576; print n }'
}
expect() {  # WHAT VALUE LOWEST HIGHEST
  awk -v value="${2:-nothing}" -v low="$3" -v high="$4" \
    'BEGIN { exit !(value + 0 == value && value >= low && value <= high) }' ||
    fail "$1 is ${2:-missing}; this step promises $3 to $4"
}

# Prints what holds the memory, and checks it: the truth +-2 %, by the function that reads the file.
# Blocks far larger than the sampling distance are seen with certainty, so there is no noise in it.
show_leak() {  # URL PID
  local report
  report="$(top "$1")" || fail "go tool pprof cannot read $1"
  show "go tool pprof -top $1" <<<"$report"
  expect "the total in MB" "$(total_mb <<<"$report")" $((held_mb * 98 / 100)) $((held_mb * 102 / 100))
  # Now and then a small block of the program's start is sampled, too, and stands beside it.
  grep -Eq "^ +${held_mb}MB +(100|99[.0-9]*)% .*ReadWhole" <<<"$report" ||
    fail "ReadWhole is not at the top of the profile"
  text "" "   The truth:     $clients clients x $file_mb MB = $held_mb MB" \
    "   The profile:   $(total_mb <<<"$report") MB" \
    "   The kernel:    $(resident_mb "$2") MB resident (VmRSS of process $2)"
  expect "VmRSS in MB" "$(resident_mb "$2")" $held_mb $((held_mb + 64))
}

leak_in_a_linked_server() {
  heading "A download server with a leak, $clients clients that ask for $file_mb MB and never read"
  start "$work/leaky.log" "$build/bin/download_server" --file="$work/file" \
    --listen=127.0.0.1:0 --mode=leaky --debug=127.0.0.1:0
  local server=$pid port url report
  until_true 10 "the server's start: $(cat "$work/leaky.log")" says '^downloads' "$work/leaky.log"
  port="$(port_in "$work/leaky.log")"
  url="$(sed -n 's/^debug endpoint on //p' "$work/leaky.log")"
  start_stuck_clients "$port"
  sed 's/^/   | /' "$work/leaky.log"

  text "" "What the endpoint has to offer (the index, as a browser shows it):"
  report="$(curl -sS --fail "$url" |
    sed -n "s|^<tr><td>\([0-9]*\)</td><td><a href='[^']*'>\([a-z]*\)</a>.*|\1 \2|p")"
  grep -q '^[1-9][0-9]* heap$' <<<"$report" || fail "the index lists no heap profile"
  show "curl $url" <<<"$report"

  text "" "Who holds memory? (flat: allocated by this function; cum: by it and what it calls)"
  show_leak "${url}heap" "$server"

  text "" "Which line?"
  report="$(go tool pprof -list='ReadWhole' "${url}heap" 2>/dev/null)"
  grep -q "${held_mb}MB .*std::vector<char> content(size_bytes());" <<<"$report" ||
    fail "-list does not show $held_mb MB at the line that allocates"
  show "go tool pprof -list=ReadWhole ${url}heap" < <(grep -v '^ROUTINE' <<<"$report" | head -n 6)

  text "" "$held_mb MB are held by File::ReadWhole, called from DownloadHandler::ServeWhole:" \
    "$clients clients asked for a file and never read it, and the server keeps the whole file for each."

  text "" "Which clients? (held bytes, peer, what the kernel knows)"
  until_true 20 "all clients to be called stopped" all_named "${url%pprof/}connections"
  report="$(curl -sS --fail "${url%pprof/}connections")"
  expect "the clients with a whole file" "$(grep -c "^ *$((file_mb * 1048576)) .*peer stopped" <<<"$report")" \
    $clients $clients
  show "curl ${url%pprof/}connections" < <(sed -n '/^held_bytes/,$p' <<<"$report" | cut -c 1-100)

  text "" "And in words: what leaks, who holds it, and what would make that wrong"
  until_true 40 "the verdict" names_leak "${url%/debug/pprof/}" "$clients connections of /download"
  report="$("$build/bin/heldby" leaks "${url%/debug/pprof/}" || true)"
  show "heldby leaks ${url%/debug/pprof/}" < <(grep -E '^1\.|evidence|wrong if' <<<"$report" | fold -s -w 100)

  heading "The clients hang up"
  stop "$stuck"
  until_true 10 "the server still holds memory" below_mb "$server" 64
  report="$(top "${url}heap")"
  show "go tool pprof -top ${url}heap" < <(sed -n '/^Showing/,$p' <<<"$report")
  expect "the total in MB" "$(total_mb <<<"$report")" 0 8
  text "" "   The kernel:    $(resident_mb "$server") MB resident" \
    "" "Gone, in the profile as in the process: it was held by waiting, not lost."
  stop "$server"
}
all_named() { [[ "$(curl -sS --fail "$1" | grep -c 'peer stopped reading')" -eq $clients ]]; }
names_leak() { grep -q "^1. LEAK: $2" < <("$build/bin/heldby" leaks "$1" 2>/dev/null); }
below_mb() { [[ "$(resident_mb "$1")" -lt "$2" ]]; }

fix_beside_it() {
  heading "The fix: the same server, 64 KiB at a time (--mode=chunked), the same $clients clients"
  # Distance 1: every allocation is a sample. Three small blocks would often go unseen otherwise.
  start "$work/chunked.log" env HELDBY_SAMPLE_BYTES=1 "$build/bin/download_server" \
    --file="$work/file" --listen=127.0.0.1:0 --mode=chunked --debug=127.0.0.1:0
  local server=$pid url report
  until_true 10 "the server's start" says '^downloads' "$work/chunked.log"
  url="$(sed -n 's/^debug endpoint on //p' "$work/chunked.log")"
  start_stuck_clients "$(port_in "$work/chunked.log")"
  report="$(top -focus=DownloadHandler "${url}heap")"
  show "go tool pprof -top -focus=DownloadHandler ${url}heap" \
    < <(sed -n '/^Showing/,+3p' <<<"$report")
  grep -q '192kB.*ServeInChunks' <<<"$report" || fail "ServeInChunks does not hold 3 x 64 kB"
  expect "VmRSS in MB" "$(resident_mb "$server")" 0 64
  text "" "   The truth:     $clients clients x 64 kB = $((clients * 64)) kB" \
    "   The kernel:    $(resident_mb "$server") MB resident" \
    "" "(This server ran with HELDBY_SAMPLE_BYTES=1, which takes every allocation as a sample.)"
  stop "$stuck" "$server"
}

leak_in_a_program_that_knows_nothing() {
  heading "The same leak in a program that was built without heldby, and is not rebuilt"
  local plain="$build/bin/download_server_plain" url report
  ! ldd "$plain" | grep -q heldby || fail "$plain is linked with heldby"
  start "$work/plain.log" "$build/bin/heldby" run -- "$plain" --file="$work/file" \
    --listen=127.0.0.1:0 --mode=leaky
  local server=$pid
  until_true 10 "the server's start" says '^downloads' "$work/plain.log"
  until_true 10 "the endpoint's start" says 'serves' "$work/plain.log"
  show "heldby run -- download_server_plain --mode=leaky ..." <"$work/plain.log"
  start_stuck_clients "$(port_in "$work/plain.log")"

  text "" "Which processes can be looked into, and where?"
  report="$("$build/bin/heldby" ls | awk -v pid="$server" 'NR == 1 || $1 == pid')"
  url="$(awk -v pid="$server" '$1 == pid { print $2 }' <<<"$report")"
  [[ "$url" == http://127.0.0.1:* ]] || fail "heldby ls does not list process $server"
  show "heldby ls" < <(cut -c 1-96 <<<"$report")

  text "" "The same question, the same answer:"
  show_leak "$url/debug/pprof/heap" "$server"
  text "" "Again $held_mb MB held by File::ReadWhole, in a program that has no line of heldby in it." \
    "" "And again the clients, since accept and read are watched there (implicit: nobody told us):"
  until_true 20 "all clients to be called stopped" all_named "$url/debug/connections"
  report="$(curl -sS --fail "$url/debug/connections")"
  show "curl $url/debug/connections" < <(sed -n '/^held_bytes/,$p' <<<"$report" | cut -c 1-100)
  stop "$stuck" "$server"
}

bodies_that_nobody_closes() {
  heading "The other classic: $calls HTTP calls whose response bodies nobody closes"
  start "$work/client.log" "$build/bin/leaky_client" --calls=$calls --mode=leak \
    --listen=127.0.0.1:0 --seconds=120
  local client=$pid url report count
  until_true 60 "the client's calls" says "$calls healthy" "$work/client.log"
  url="$(sed -n 's|.*\(http://[^ ]*/debug/pprof/\).*|\1|p' "$work/client.log")"
  sed 's/^/   | /' "$work/client.log"

  text "" "What is the program doing? Go's client shows 200 readLoop and 200 writeLoop here:"
  until_true 20 "the loops to wait" loops_wait "$url"
  report="$(top "${url}goroutine")"
  show "go tool pprof -top ${url}goroutine" < <(grep -E 'flat%|[a-z]Loop' <<<"$report" | head -n 3)
  for loop in ReadLoop WriteLoop; do
    count="$(awk -v loop="::$loop" 'index($0, loop) { print $4; exit }' <<<"$report")"
    expect "the number of $loop" "$count" $calls $calls
  done

  text "" "Who left them? In Go no stack has that line; here each connection knows who opened it:"
  report="$(top "${url}connections")"
  count="$(awk '/CheckHealth/ { print $4; exit }' <<<"$report")"
  expect "the connections opened under CheckHealth" "$count" $calls $calls
  show "go tool pprof -top ${url}connections" < <(grep -E 'flat%|CheckHealth' <<<"$report")
  text "" "One of them, and since when it waits:"
  report="$(curl -sS --fail "${url}goroutine?debug=2")"
  report="$(awk '/^goroutine .*read loop/ { on = 1 } on; /^$/ && on { exit }' <<<"$report")"
  grep -q '^created by' <<<"$report" || fail "debug=2 does not say who created the read loop"
  show "curl ${url}goroutine?debug=2" < <(cut -c 1-130 <<<"$report")
  stop "$client"

  text "" "The fix: the same calls, and each body is closed (--mode=fixed)"
  start "$work/fixed.log" "$build/bin/leaky_client" --calls=$calls --mode=fixed \
    --listen=127.0.0.1:0 --seconds=120
  client=$pid
  until_true 60 "the client's calls" says "$calls healthy" "$work/fixed.log"
  url="$(sed -n 's|.*\(http://[^ ]*/debug/pprof/\).*|\1|p' "$work/fixed.log")"
  until_true 20 "connections are left" none_left "$url"
  report="$(curl -sS --fail "${url}connections?debug=1")"
  show "curl ${url}connections?debug=1" < <(head -n 1 <<<"$report")
  stop "$client"
}
loops_wait() {
  local waiting
  waiting="$(curl -sS --fail "$1goroutine?debug=2" | grep -Ec '^goroutine .*chan receive.*(read|write) loop')"
  [[ "$waiting" -eq $((2 * calls)) ]]
}
none_left() { curl -sS --fail "$1connections?debug=1" | grep -qx 'connections profile: total 0'; }

[[ -x "$build/bin/download_server" ]] || fail "$build/bin/download_server is missing: run ./dev build"
command -v go >/dev/null || fail "go is missing: run ./dev demo, or install golang-go"
available_mb="$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)"
readonly needed_mb=$((held_mb + 400))  # and the file itself, in the page cache
((available_mb >= needed_mb)) || fail "$available_mb MB of memory are free; the demo needs $needed_mb"

mkdir "$PPROF_TMPDIR"
mkfifo "$work/never_ends"
exec 9<>"$work/never_ends"
head -c $((file_mb * 1024 * 1024)) /dev/zero >"$work/file"

leak_in_a_linked_server
fix_beside_it
leak_in_a_program_that_knows_nothing
bodies_that_nobody_closes
text "" "Every figure above was checked against the truth. Next: README.md, docs/."
