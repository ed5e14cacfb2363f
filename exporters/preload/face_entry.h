// exporters/preload/face_entry.h - what the core calls after it has loaded the face by name.
//
// Threads  heldby_face_listen, _watch: a thread of the core's, once per process.
//          heldby_face_dump: the thread that called exit(), which nobody can cancel.
// Signals  unsafe.
// Self     the caller holds the core's guard; threads started here are guarded by themselves.
#pragma once

extern "C" {

/// Serves on `address` (HELDBY_LISTEN) until the process ends. What goes wrong is one line on
/// stderr; the host runs on.
__attribute__((visibility("default"))) void heldby_face_listen(const char* address);

/// Watches the way to the memory limit, with dumps in `directory` (HELDBY_DUMP_DIR). As above.
__attribute__((visibility("default"))) void heldby_face_watch(const char* directory);

/// Writes a heap profile to `pattern` (HELDBY_DUMP_AT_EXIT), "%p" replaced by the process id.
__attribute__((visibility("default"))) void heldby_face_dump(const char* pattern);
}
