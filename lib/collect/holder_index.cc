#include "collect/holder_index.h"

#include "absl/strings/str_cat.h"
#include "collect/holders.h"

namespace heldby::collect {
namespace {

Label Text(const char* key, std::string text) { return {.key = key, .text = std::move(text)}; }

std::string KeyOf(std::uint32_t site, const std::vector<Label>& labels) {
  std::string key = absl::StrCat(site);
  for (const Label& label : labels) {
    absl::StrAppend(&key, "\n", label.key, "=", label.text, label.number);
  }
  return key;
}

}  // namespace

std::vector<ConnectionInfo> HolderIndex::NameConnections() {
  std::vector<ConnectionInfo> infos = CollectConnections(registry_);
  for (const ConnectionInfo& info : infos) {
    std::vector<Label>& labels = connections_[static_cast<std::uint32_t>(info.id)];
    if (wanted_.connection) {
      labels.push_back({.key = "connection",
                        .number = static_cast<std::int64_t>(info.id),
                        .number_unit = "id"});
      labels.push_back(
          Text("direction", info.direction == Direction::kInbound ? "inbound" : "outbound"));
      if (!info.peer.empty()) labels.push_back(Text("peer", info.peer));
      if (info.ended) labels.push_back(Text("holder", "ended"));
    }
    if (wanted_.state && !info.state.empty()) labels.push_back(Text("state", info.state));
    if (wanted_.age) {
      labels.push_back(
          {.key = "age", .number = info.age_ns / 1'000'000'000, .number_unit = "seconds"});
    }
  }
  return infos;
}

void HolderIndex::NameTasks() {
  for (const TaskInfo& info : CollectTasks(registry_)) {
    std::vector<Label>& labels = tasks_[static_cast<std::uint32_t>(info.id)];
    if (wanted_.task) {
      labels.push_back(Text("task", info.name.empty() ? "unnamed" : info.name));
      if (info.ended && info.connection == ConnectionId::kNone) {
        labels.push_back(Text("holder", "ended"));
      }
    }
    // Where there is a connection, these are the connection's.
    if (info.connection != ConnectionId::kNone) continue;
    if (wanted_.state && !info.state.empty()) labels.push_back(Text("state", info.state));
    if (wanted_.age) {
      labels.push_back(
          {.key = "age", .number = info.age_ns / 1'000'000'000, .number_unit = "seconds"});
    }
  }
}

void HolderIndex::Collect() {
  if (!wanted_.any()) return;
  NameConnections();
  NameTasks();
  registry_.visit_live_samples(
      [](void* self, const core::LiveSampleView& sample) {
        if (sample.connection == 0 && sample.task == 0) return;
        static_cast<HolderIndex*>(self)->Add(sample);
      },
      this);
}

void HolderIndex::Add(const core::LiveSampleView& sample) {
  std::vector<Label> labels;
  for (const auto& [known, id] :
       {std::pair(&connections_, sample.connection), std::pair(&tasks_, sample.task)}) {
    const auto found = known->find(id);
    if (found != known->end()) {
      labels.insert(labels.end(), found->second.begin(), found->second.end());
    }
  }
  if (labels.empty()) return;
  if (wanted_.connection && sample.guessed) {
    labels.push_back(Text("attribution", "implicit"));
  }
  std::vector<HeldPart>& parts = parts_[sample.site];
  const auto [place, is_new] = part_of_.try_emplace(KeyOf(sample.site, labels), parts.size());
  if (is_new) parts.push_back({.labels = std::move(labels)});
  parts[place->second].bytes += sample.bytes;
  parts[place->second].objects += sample.objects;
}

std::span<const Label> HolderIndex::LabelsOfConnection(std::uint32_t id) const {
  const auto found = connections_.find(id);
  return found == connections_.end() ? std::span<const Label>() : found->second;
}

std::span<const Label> HolderIndex::LabelsOfTask(std::uint32_t id) const {
  const auto found = tasks_.find(id);
  return found == tasks_.end() ? std::span<const Label>() : found->second;
}

std::span<const HeldPart> HolderIndex::PartsOf(std::uint32_t site) const {
  const auto found = parts_.find(site);
  return found == parts_.end() ? std::span<const HeldPart>() : found->second;
}

}  // namespace heldby::collect
