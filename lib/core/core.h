// core/core.h - the one door into the core: what the face may ask of it.
//
// Threads  every function: any.   Signals  unsafe unless said.   Units  in the names.
// Bounds   none of these allocates; what a visitor does is its own business.
//
// A table of functions behind one exported symbol: the core and the face are separate shared
// objects, a core may also stand in the executable (the static library), and every version of
// the face must notice a core it does not know.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/thread_slot.h"
#include "core/registry/event_log.h"
#include "core/registry/registry.h"
#include "core/sampler/contention.h"
#include "core/sampler/cpu_sampler.h"
#include "core/stack/capture.h"
#include "core/stack/signal_capture.h"

namespace heldby::core {

inline constexpr std::uint32_t kCoreAbi = 12;

struct HookDescription {
  bool active;
  const char* reason;     // when not active
  const char* allocator;  // "tcmalloc", "glibc", or a file name
};

/// Totals of one allocation site. Objects are in 1/4096; in use = allocated - freed.
struct HeapSite {
  const std::uintptr_t* frames;  // return addresses, innermost first
  const std::uint16_t* modules;  // which module each frame was in; 0: not known
  std::size_t depth;             // 0: the stack table was full
  bool truncated;
  std::uint32_t labels;  // for visit_labels; 0: none
  std::uint32_t id;      // as LiveSampleView::site names it
  std::uint64_t size_class_bytes;
  std::uint64_t allocated_objects;
  std::uint64_t allocated_bytes;
  std::uint64_t freed_objects;
  std::uint64_t freed_bytes;
};

/// Everything that is counted, drops above all. Monotonic unless named otherwise.
struct Counters {
  std::uint64_t sites;  // so far
  std::uint64_t samples_total;
  std::uint64_t live_samples;             // now
  std::uint64_t dropped_samples_total;    // live table full
  std::uint64_t dropped_stacks_total;     // stack table full: sample kept, stack lost
  std::uint64_t dropped_sites_total;      // site table full: counted under "other"
  std::uint64_t truncated_stacks_total;   // deeper than 128, or the unwinder could not go on
  std::uint64_t stale_samples_total;      // freed past the hooks, found out when reused
  std::uint64_t untracked_samples_total;  // could not be placed where free() would see them
  std::uint64_t table_bytes;              // now, mapped for our tables
  std::uint64_t unwind_rules_read_total;  // from .eh_frame: neither cache had them
  std::uint64_t unwind_cache_bytes;       // of both caches, static
  std::uint64_t dropped_connections_total;
  std::uint64_t dropped_tasks_total;
  std::uint64_t dropped_label_sets_total;
  std::uint64_t dropped_places_total;       // of tasks, which have no name then
  std::uint64_t dropped_threads_total;      // whose tasks and labels are not seen
  std::uint64_t registry_bytes;             // now, used by their tables
  std::uint64_t dropped_descriptors_total;  // too large a number to be watched
  std::uint64_t
      dropped_inheritances_total;           // threads that began without their creator's holder
  std::uint64_t dropped_cpu_samples_total;  // drained too late
  std::uint64_t unwatched_cpu_threads_total;  // no timer to be had for them
  std::uint64_t dropped_trace_events_total;   // the log of a trace was full
  std::uint64_t opened_connections_total[2];  // inbound, outbound
  std::uint64_t closed_connections_total[2];
  std::uint64_t dropped_error_lines_total;  // of ours, that standard error did not take
};

/// A sampled block that is alive, and who holds it.
struct LiveSampleView {
  std::uint32_t site;        // HeapSite::id
  std::uint32_t connection;  // 0: none
  std::uint32_t task;        // 0: none
  std::uint64_t bytes;
  std::uint64_t objects;   // in 1/4096
  std::uint64_t birth_ns;  // of the clock of RegistryApi::now_ns
  bool guessed;            // the connection is what a wrapped call suggested
};

/// A copy of a record. Texts are the program's, and may be gone: read them with care.
struct ConnectionView {
  std::uint32_t id;
  bool outbound;
  bool implicit;
  bool ended;
  int fd;
  std::uint32_t task;
  std::uint32_t labels;
  const char* state;
  std::uint64_t state_since_ns;
  std::uint64_t born_ns;
  std::uint64_t cookie;
  std::uint64_t queued_bytes;
  std::int64_t held_bytes;
  PeerAddress peer;     // of one that has ended
  std::uint32_t stack;  // of the code that opened it: RegistryApi::stack
};
struct TaskView {
  std::uint32_t id;
  bool ended;
  bool is_scope;  // on one thread from its beginning to its end
  bool running;   // on a thread now
  std::uint32_t runs;
  std::uint32_t made_id;    // a place, whose text is its name
  std::uint32_t parked_id;  // a place, whose text is its state or what it waits for; 0: none
  const AwaitFrame* chain;
  std::uint64_t parked_since_ns;
  std::uint64_t born_ns;
  std::int64_t held_bytes;
  std::uint32_t parent;
  std::uint32_t connection;
  std::uint32_t labels;
  std::uint32_t stack;  // of the code that made it; one task in some has it, or all
};

/// A stack of the table: 0, the table was full, has none.
struct StackView {
  const std::uintptr_t* frames;
  const std::uint16_t* modules;
  std::size_t depth;
  bool truncated;
};

/// Connections, tasks and labels: core/registry/registry.h. All but the visits: signal-safe.
struct RegistryApi {
  std::uint32_t (*open_connection)(int fd, bool outbound, std::uintptr_t caller);
  void (*end_connection)(std::uint32_t id);
  void (*set_connection_descriptor)(std::uint32_t id, int fd);
  void (*set_connection_state)(std::uint32_t id, const char* state);
  void (*set_connection_queued_bytes)(std::uint32_t id, std::uint64_t bytes);
  std::uint32_t (*begin_task)(const Registry::TaskStart& start);
  void (*end_task)(std::uint32_t id);
  void (*set_task_connection)(std::uint32_t id, std::uint32_t connection);
  std::uint32_t (*intern_place)(const Place& place);
  Place (*place)(std::uint32_t id);
  void (*park_task)(std::uint32_t id, std::uint32_t place, const AwaitFrame* chain);
  /// On the calling thread from here to there; `before` is what enter_task() returned.
  Holder (*enter_task)(std::uint32_t id);
  void (*leave_task)(std::uint32_t id, const Holder& before);
  /// TaskView::runs as it is now, after everything read before the call; 1: it has ended.
  std::uint32_t (*task_runs)(std::uint32_t id);
  Holder (*holder)();
  /// Of the calling thread; returns the one before.
  Holder (*set_holder)(Holder holder);
  std::uint32_t (*merge_labels)(std::uint32_t outer, const Label* labels, int count);
  void (*visit_labels)(std::uint32_t id,
                       void (*visit)(void* context, const char* key, const char* value),
                       void* context);
  void (*visit_connections)(void (*visit)(void* context, const ConnectionView& connection),
                            void* context);
  void (*visit_tasks)(void (*visit)(void* context, const TaskView& task), void* context);
  /// The same for `count` places of the table from `first` on. Where the next part begins; 0:
  /// there is none.
  std::uint32_t (*visit_connections_part)(std::uint32_t first, std::uint32_t count,
                                          void (*visit)(void* context,
                                                        const ConnectionView& connection),
                                          void* context);
  std::uint32_t (*visit_tasks_part)(std::uint32_t first, std::uint32_t count,
                                    void (*visit)(void* context, const TaskView& task),
                                    void* context);
  /// Each at most once, while others come and go.
  void (*visit_live_samples)(void (*visit)(void* context, const LiveSampleView& sample),
                             void* context);
  /// As connections and tasks name them, and intern_stack().
  StackView (*stack)(std::uint32_t id);
  std::uint64_t (*now_ns)();  // of the clock that all of them are by
  /// begin_task() and end_task() of a task that is current on the calling thread in between.
  std::uint32_t (*begin_scope)(const Registry::TaskStart& start, Holder* before);
  void (*end_scope)(std::uint32_t id, const Holder& before);
  /// True: from now on every task keeps the stack that made it. False takes one such call back.
  void (*keep_task_stacks)(bool keep);
};

/// What happens to them, for a while: core/registry/event_log.h.
struct TraceApi {
  EventLog::Started (*start)();
  EventLog::Totals (*stop)();
  std::uint64_t (*visit)(void (*visit)(void* context, const Event& event), void* context);
  void (*release)();
};

/// What is known of a thread without asking it.
struct ThreadView {
  bool is_own;  // of the profiler's
  Holder holder;
  std::uint32_t created_by;   // RegistryApi::stack; 0: not seen
  std::uintptr_t stack_high;  // one past its own stack; 0: not looked at yet
};

/// Stacks, those of other threads too: core/stack/{capture,signal_capture}.h. Not signal-safe.
struct ThreadApi {
  /// False: it has never allocated, or has ended.
  bool (*read)(std::int32_t tid, ThreadView* thread);
  /// The calling stack from the frame on whose code `caller` is a return address into. Kept for
  /// as long as the process lives, each once.
  std::uint32_t (*intern_stack)(std::uintptr_t caller);
  void (*capture_parked)(const Registers& registers, Stack* stack);
  int (*capture_by_signal)(AskedThread* threads, int count, std::uint64_t timeout_ns);
  /// The calling thread is the profiler's from now on: not sampled, and in no list.
  void (*become_own)();
};

/// CPU profiles: core/sampler/cpu_sampler.h. Between start and stop one thread calls the rest.
/// Not signal-safe.
struct CpuApi {
  CpuStart (*start)(std::uint64_t period_ns);
  /// The last samples are handed over as drain() does.
  void (*stop)(void (*visit)(void* context, const CpuSample& sample), void* context);
  /// Between start and stop: the signal. A thread that blocks it must not be watched.
  int (*signal)();
  /// A thread that has a timer.
  bool (*knows_thread)(std::int32_t tid);
  void (*watch_thread)(std::int32_t tid);
  /// Gives up the timers of threads that have ended.
  void (*sweep)();
  int (*drain)(void (*visit)(void* context, const CpuSample& sample), void* context);
};

extern const CpuApi cpu_api __attribute__((visibility("hidden")));
enum class ContentionTable : std::uint8_t { kBlock, kMutex };

/// Totals of one stack, scaled. Contentions are in 1/4096.
struct ContentionSite {
  std::uint32_t id;
  std::uint32_t labels;  // for visit_labels; 0: none
  StackView stack;
  std::uint64_t contentions;
  std::uint64_t delay_ns;
};

/// A wait under way.
struct WaitView {
  std::uint32_t id;
  std::uint32_t site;  // of the block profile
  WaitKind kind;
  WaitPhase phase;
  std::int32_t tid;
  std::uint64_t start_ns;
  std::uint64_t rate_ns;  // of the block profile when it began; 0: it will not be counted there
  const void* object;
  std::uint32_t connection;
  std::uint32_t task;
};

struct ContentionCounters {
  std::uint64_t waits_total;          // looked at, sampled or not
  std::uint64_t dropped_waits_total;  // not counted: 16,384 under way
  std::uint64_t dropped_locks_total;  // waits for locks whose unlocker is not known
  std::uint64_t dropped_sites_total;  // counted under "other"
  std::uint64_t table_bytes;          // now
};

/// Who waited for whom: core/sampler/contention.h. None is signal-safe but record_unlock.
struct ContentionApi {
  std::uint64_t (*block_rate_ns)();
  std::uint64_t (*mutex_fraction)();
  /// The one before. What is too large becomes the largest (kMaxBlockRateNs, ...).
  std::uint64_t (*set_block_rate_ns)(std::uint64_t ns);
  std::uint64_t (*set_mutex_fraction)(std::uint64_t fraction);
  void (*visit_sites)(ContentionTable table,
                      void (*visit)(void* context, const ContentionSite& site), void* context);
  /// Of one site, which need not have counted anything yet.
  ContentionSite (*read_block_site)(std::uint32_t id);
  void (*visit_waits)(void (*visit)(void* context, const WaitView& wait), void* context);
  /// With read_block_site() before and after: Contention's invariants I1 and I2.
  WaitPhase (*wait_phase)(std::uint32_t id);
  void (*record_unlock)(std::uint64_t delay_ns, std::uintptr_t caller);
  ContentionCounters (*read_counters)();
  std::uint64_t (*now_ns)();  // of the clock that waits are by
};

extern const ContentionApi contention_api __attribute__((visibility("hidden")));
extern const TraceApi trace_api __attribute__((visibility("hidden")));
extern const ThreadApi thread_api __attribute__((visibility("hidden")));
extern const RegistryApi registry_api __attribute__((visibility("hidden")));

struct CoreApi {
  std::uint32_t abi;  // kCoreAbi
  HookDescription (*describe_hooks)();
  std::uint64_t (*sample_bytes)();
  /// False: above 1 TiB.
  bool (*set_sample_bytes)(std::uint64_t mean_bytes);
  void (*visit_heap_sites)(void (*visit)(void* context, const HeapSite& site), void* context);
  Counters (*read_counters)();
  /// The module at `pc` now, as HeapSite::modules names it; see capture.h.
  bool (*describe_module_at)(std::uintptr_t pc, ModuleRange* range);
  /// Nested. Signal-safe. Between them, this thread's allocations are not sampled.
  void (*enter_self)();
  void (*leave_self)();
  /// After our own tables have been emptied there. False: no room (4), or the core does not
  /// watch forks.
  bool (*run_in_forked_children)(void (*function)());
  /// One whole line on standard error; left out and counted where it would do harm.
  /// Signal-safe.
  void (*write_error_line)(const char* line, std::size_t bytes);
  /// core/base/setting.h.
  const char* (*setting)(const char* name);
  /// Starts the calling thread's sampling over from `seed`: for tests that must repeat.
  void (*seed_thread)(std::uint64_t seed);
  const RegistryApi* registry;
  const ThreadApi* threads;
  const CpuApi* cpu;
  const ContentionApi* contention;
  const TraceApi* trace;
};

/// CoreApi::run_in_forked_children.
bool RunInForkedChildren(void (*function)());

/// False in a core that another one stands before: the shared core behind an executable that
/// carries the static one. It stays quiet.
bool IsTheCoreOfThisProcess();

}  // namespace heldby::core

extern "C" __attribute__((visibility("default"))) const heldby::core::CoreApi* heldby_core_v1();
