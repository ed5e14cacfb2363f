#include "watch/holdings.h"

#include <string.h>

namespace heldby::watch {

void Holdings::Find(const core::CoreApi& core) {
  sites_.Clear();
  connections_.Clear();
  tasks_.Clear();
  live_bytes_ = 0;
  core.visit_heap_sites(
      [](void* self, const core::HeapSite& site) {
        auto& holdings = *static_cast<Holdings*>(self);
        const std::int64_t live_bytes = LiveBytes(site);
        holdings.live_bytes_ += live_bytes;
        holdings.sites_.Show(live_bytes, site);
      },
      this);
  core.registry->visit_connections(
      [](void* self, const core::ConnectionView& view) {
        static_cast<Holdings*>(self)->connections_.Show(view.held_bytes, view);
      },
      this);
  core.registry->visit_tasks(
      [](void* self, const core::TaskView& view) {
        static_cast<Holdings*>(self)->tasks_.Show(view.held_bytes, view);
      },
      this);
}

bool Holdings::IsTopSite(std::uint32_t id) const {
  return std::ranges::any_of(sites(),
                             [id](const core::HeapSite& site) { return site.id == id; });
}

void Holdings::FindHeld(const core::CoreApi& core) {
  static_assert(kMostHeld < UINT16_MAX);
  memset(held_index_, 0, sizeof(held_index_));
  held_count_ = 0;
  held_dropped_ = 0;
  core.registry->visit_live_samples(
      [](void* self, const core::LiveSampleView& sample) {
        if (sample.connection == 0 && sample.task == 0) return;
        static_cast<Holdings*>(self)->AddHeld(sample);
      },
      this);
}

void Holdings::AddHeld(const core::LiveSampleView& sample) {
  std::uint64_t hash = sample.site * 0x9e3779b97f4a7c15 + sample.connection;
  hash = hash * 0x9e3779b97f4a7c15 + sample.task * 2 + (sample.guessed ? 1 : 0);
  hash *= 0x9e3779b97f4a7c15;
  for (std::size_t at = (hash >> 40) % kBuckets;; at = (at + 1) % kBuckets) {
    if (held_index_[at] == 0) {
      if (held_count_ == kMostHeld) {
        ++held_dropped_;
        return;
      }
      held_[held_count_] = {.site = sample.site,
                            .connection = sample.connection,
                            .task = sample.task,
                            .guessed = sample.guessed,
                            .bytes = sample.bytes,
                            .objects = sample.objects};
      held_index_[at] = static_cast<std::uint16_t>(++held_count_);
      return;
    }
    Held& held = held_[held_index_[at] - 1];
    if (held.site == sample.site && held.connection == sample.connection &&
        held.task == sample.task && held.guessed == sample.guessed) {
      held.bytes += sample.bytes;
      held.objects += sample.objects;
      return;
    }
  }
}

}  // namespace heldby::watch
