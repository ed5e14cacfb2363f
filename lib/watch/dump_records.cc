// The part of a dump that `heldby convert` reads.
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <bitset>

#include "collect/safe_text.h"
#include "profile/dump_format.h"
#include "watch/dump_text.h"
#include "watch/peer_text.h"

namespace heldby::watch {

PeerText::PeerText(const core::ConnectionView& view) {
  if (view.ended) {
    size_ = collect::FormatAddress(reinterpret_cast<const sockaddr*>(view.peer.bytes),
                                   view.peer.size_bytes, text_);
    return;
  }
  // What the descriptor is now may be another's.
  if (view.cookie == 0 || !collect::ReadSocketQueues(view.fd, view.cookie).known) return;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (getpeername(view.fd, generic, &size) != 0) return;
  size_ = collect::FormatAddress(generic, std::min<socklen_t>(size, sizeof(address)), text_);
}

void DumpText::Dropped(std::uint64_t count, std::string_view what) {
  if (count != 0) {
    sink_.Text("d ").Number(static_cast<std::int64_t>(count)).Text(" ").Text(what).EndLine();
  }
}

void DumpText::ModuleRecord(const CodeModule& module) {
  constexpr char kDigits[] = "0123456789abcdef";
  sink_.Text("m ").Hex(module.start).Text(" ").Hex(module.limit).Text(" ");
  sink_.Hex(module.file_offset).Text(module.build_id_bytes == 0 ? " -" : " ");
  for (std::size_t i = 0; i < module.build_id_bytes; ++i) {
    const std::uint8_t byte = module.build_id[i];
    const char digits[] = {kDigits[byte >> 4], kDigits[byte & 15]};
    sink_.Text({digits, sizeof(digits)});
  }
  sink_.Text(" ").Escaped(modules_.PathOf(module)).EndLine();
}

// First what the heaviest sites need: a thousand modules are more than a box has room for.
void DumpText::ModulesAndTopSites(bool all_modules) {
  const auto modules = modules_.all();
  std::bitset<CodeModules::kMostModules> is_used;
  is_used[0] = true;  // the program, by which readers name the profile
  for (const core::HeapSite& site : holdings_.sites()) {
    for (std::size_t i = 0; i < site.depth; ++i) {
      const CodeModule* module = modules_.Find(site.frames[i] - 1);
      if (module != nullptr) is_used[static_cast<std::size_t>(module - modules.data())] = true;
    }
  }
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (is_used[i]) ModuleRecord(modules[i]);
  }
  for (const core::HeapSite& site : holdings_.sites()) SiteRecord(site);
  for (std::size_t i = 0; i < modules.size() && all_modules; ++i) {
    if (!is_used[i]) ModuleRecord(modules[i]);
  }
  Dropped(modules_.dropped(), "mappings of code not listed: table full");
}

void DumpText::ConnectionRecord(const core::ConnectionView& view) {
  char state[collect::kSafeTextBytes];
  sink_.Text("c ").Number(view.id).Text(view.outbound ? " out" : " in");
  sink_.Text(view.ended ? " ended " : " open ").Number(view.held_bytes).Text(" ");
  sink_.Number(AgeSeconds(view.born_ns)).Text(" ").Escaped(PeerText(view).view()).Text(" ");
  sink_.Escaped({state, collect::CopySafeText(view.state, state)}).EndLine();
}

void DumpText::TaskRecord(const core::TaskView& view) {
  char name[collect::kSafeTextBytes];
  char state[collect::kSafeTextBytes];
  const char* made = core_.registry->place(view.made_id).text;
  const char* parked = core_.registry->place(view.parked_id).text;
  sink_.Text("t ").Number(view.id).Text(view.ended ? " ended " : " open ");
  sink_.Number(view.held_bytes).Text(" ").Number(AgeSeconds(view.born_ns)).Text(" ");
  sink_.Number(view.connection).Text(" ");
  sink_.Escaped({name, collect::CopySafeText(made, name)}).Text(" ");
  sink_.Escaped({state, collect::CopySafeText(parked, state)}).EndLine();
}

void DumpText::SiteRecord(const core::HeapSite& site) {
  sink_.Text("s ").Number(site.id).Text(" ");
  sink_.Number(static_cast<std::int64_t>(site.size_class_bytes)).Text(" ");
  sink_.Number(LiveObjects(site)).Text(" ").Number(LiveBytes(site));
  sink_.Text(site.truncated ? " cut " : " whole ");
  struct Labels {
    TextSink* sink;
    bool first = true;
  } labels{&sink_};
  core_.registry->visit_labels(
      site.labels,
      [](void* context, const char* key, const char* value) {
        auto& to = *static_cast<Labels*>(context);
        to.sink->Text(to.first ? "" : ",").Escaped(key).Text("=").Escaped(value);
        to.first = false;
      },
      &labels);
  if (labels.first) sink_.Text("-");
  for (std::size_t i = 0; i < site.depth; ++i) {
    sink_.Text(IsReplaced(site, i) ? " !" : " ").Hex(site.frames[i]);
  }
  sink_.EndLine();
}

void DumpText::HeldRecords() {
  constexpr std::uint64_t kObjectUnit = 4096;
  for (const Held& held : holdings_.held()) {
    sink_.Text("h ").Number(held.site).Text(" ").Number(held.connection).Text(" ");
    sink_.Number(held.task).Text(" ").Number(static_cast<std::int64_t>(held.bytes)).Text(" ");
    sink_.Number(static_cast<std::int64_t>((held.objects + kObjectUnit / 2) / kObjectUnit));
    sink_.Text(held.guessed ? " guessed" : " sure").EndLine();
  }
  Dropped(holdings_.held_dropped(), "samples whose holder is not told: table full");
}

// Heavier ones first, as far as two walks can do that without a table of all.
void DumpText::OtherSites() {
  struct Walk {
    DumpText* dump;
    std::int64_t from_bytes;
    std::int64_t below_bytes;
  };
  const std::int64_t heavy_bytes = std::max<std::int64_t>(holdings_.live_bytes() / 1000, 1);
  for (const auto& [from_bytes, below_bytes] :
       {std::pair(heavy_bytes, INT64_MAX), std::pair(std::int64_t{1}, heavy_bytes)}) {
    Walk walk{this, from_bytes, below_bytes};
    core_.visit_heap_sites(
        [](void* context, const core::HeapSite& site) {
          const auto& to = *static_cast<Walk*>(context);
          const std::int64_t bytes = LiveBytes(site);
          if (bytes < to.from_bytes || bytes >= to.below_bytes) return;
          if (!to.dump->holdings_.IsTopSite(site.id)) to.dump->SiteRecord(site);
        },
        &walk);
  }
}

void DumpText::Records(bool all_sites) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const std::uint64_t dropped_before = sink_.dropped_lines();
  sink_.Text(dump::kRecordsHeading).EndLine();
  sink_.Text("p ").Number(static_cast<std::int64_t>(core_.sample_bytes())).EndLine();
  sink_.Text("n ").Number(now.tv_sec * 1'000'000'000 + now.tv_nsec).EndLine();
  ModulesAndTopSites(/*all_modules=*/all_sites);
  if (all_sites) {
    HolderRecords();
    HeldRecords();
    OtherSites();
  } else {
    for (const core::ConnectionView& view : holdings_.connections()) ConnectionRecord(view);
    for (const core::TaskView& view : holdings_.tasks()) TaskRecord(view);
  }
  sink_.set_limit(SIZE_MAX);
  Dropped(sink_.dropped_lines() - dropped_before, "records left out: the dump was full");
  sink_.Text("e").EndLine();
}

template <typename View>
void DumpText::Holders(void (*visit)(void (*)(void*, const View&), void*),
                       void (DumpText::*record)(const View&), std::string_view dropped) {
  struct Walk {
    DumpText* dump;
    void (DumpText::*record)(const View&);
    std::uint64_t seen = 0;
  } walk{this, record};
  visit(
      [](void* context, const View& view) {
        auto& to = *static_cast<Walk*>(context);
        if (view.held_bytes <= 0) return;
        if (++to.seen <= kMostHolders) (to.dump->*to.record)(view);
      },
      &walk);
  Dropped(walk.seen - std::min(walk.seen, kMostHolders), dropped);
}

void DumpText::HolderRecords() {
  const auto& registry = *core_.registry;
  Holders<core::ConnectionView>(registry.visit_connections, &DumpText::ConnectionRecord,
                                "connections that hold memory not listed");
  Holders<core::TaskView>(registry.visit_tasks, &DumpText::TaskRecord,
                          "tasks that hold memory not listed");
}

}  // namespace heldby::watch
