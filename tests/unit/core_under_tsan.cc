// For programs that ThreadSanitizer watches and in which several threads use libheldby.so.
extern "C" {

// The core is not instrumented: its mmap() and memcpy() are seen, the atomics that publish what
// they wrote are not. tests/race has the same tables instrumented.
const char* __tsan_default_suppressions() { return "called_from_lib:libheldby.so\n"; }

// The child for line numbers begins as a thread does, with the memory of its parent: which is
// then taken for a fork, after which threads must not be started.
const char* __tsan_default_options() { return "die_after_fork=0"; }
}
