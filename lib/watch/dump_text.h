// watch/dump_text.h - the text of a dump, for a file and, shorter, for the black box.
//
// Threads  one.
// Signals  unsafe: asks the kernel about connections.
// Allocates  never.
// Units    bytes, seconds.
// Bounds   kMostHolders connections and as many tasks in the records; the sink's limit.
// Source   profile/dump_format.h. The heaviest sites come first: what is cut off at the end
//          weighs least.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/core.h"
#include "watch/holdings.h"
#include "watch/levels.h"
#include "watch/limits.h"
#include "watch/modules.h"
#include "watch/text_sink.h"

namespace heldby::watch {

inline constexpr std::uint64_t kMostHolders = 4096;

/// Why, and under what circumstances.
struct Occasion {
  Level level = Level::kNone;  // kNone: none, it is the black box
  Outlook outlook;
  Reading tightest;
  Limits::Name limit{"", ""};
  std::int64_t resident_bytes = 0;
  /// When the process began, in the kernel's ticks: with its id, it and no other.
  std::int64_t begun_ticks = 0;
};

inline constexpr std::string_view kBegun = "begun at tick ";

class DumpText {
 public:
  DumpText(const core::CoreApi& core, const Holdings& holdings, const CodeModules& modules,
           TextSink* sink)
      : core_(core), holdings_(holdings), modules_(modules), sink_(*sink) {}

  /// For people: what is the matter, the last verdict, the heaviest of each kind.
  void Summary(const Occasion& occasion);

  /// For `heldby convert`. `all_sites`: else the heaviest alone, and the code they are in.
  void Records(bool all_sites);

 private:
  void Heading(const Occasion& occasion);
  void Verdict();
  void TopSites();
  void TopConnections();
  void TopTasks();
  void Frame(const core::HeapSite& site, std::size_t frame);
  void KernelState(const core::ConnectionView& view);
  void ModuleRecord(const CodeModule& module);
  void ModulesAndTopSites(bool all_modules);
  void ConnectionRecord(const core::ConnectionView& view);
  void TaskRecord(const core::TaskView& view);
  void SiteRecord(const core::HeapSite& site);
  template <typename View>
  void Holders(void (*visit)(void (*)(void*, const View&), void*),
               void (DumpText::*record)(const View&), std::string_view dropped);
  void HolderRecords();
  void HeldRecords();
  void OtherSites();
  void Dropped(std::uint64_t count, std::string_view what);
  bool IsReplaced(const core::HeapSite& site, std::size_t frame) const;
  std::int64_t AgeSeconds(std::uint64_t since_ns) const;

  const core::CoreApi& core_;
  const Holdings& holdings_;
  const CodeModules& modules_;
  TextSink& sink_;
};

}  // namespace heldby::watch
