#include "collect/trace_writer.h"

#include "absl/strings/str_cat.h"

namespace heldby::collect {

std::uint32_t TraceWriter::Text(const std::string& text) {
  const auto [known, is_new] =
      texts_.try_emplace(text, static_cast<std::uint32_t>(trace_.texts.size()));
  if (is_new) trace_.texts.push_back(text);
  return known->second;
}

std::uint32_t TraceWriter::TextAt(const char* address) {
  const auto [known, is_new] = addresses_.try_emplace(address, 0);
  if (is_new) known->second = Text(SafeText(address));
  return known->second;
}

const Labels& TraceWriter::LabelsOnce(std::uint32_t labels) {
  const auto [known, is_new] = labels_.try_emplace(labels);
  if (is_new) known->second = LabelsOf(registry_, labels);
  return known->second;
}

void TraceWriter::AddLabels(std::uint32_t labels, TraceArguments* arguments) {
  if (labels == 0) return;
  for (const auto& [key, value] : LabelsOnce(labels)) {
    arguments->emplace_back(absl::StrCat("labels.", key), value);
  }
}

std::string TraceWriter::LabelText(std::uint32_t labels) {
  std::string text;
  if (labels == 0) return text;
  for (const auto& [key, value] : LabelsOnce(labels)) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", key, "=", value);
  }
  return text;
}

TraceEvent& TraceWriter::Add(TracePhase phase, TraceSubject subject, std::uint64_t id,
                             std::int32_t tid, std::uint32_t name,
                             const TraceArguments& arguments) {
  const auto first = static_cast<std::uint32_t>(trace_.arguments.size());
  for (const auto& [key, value] : arguments) {
    trace_.arguments.push_back({Text(key), Text(value)});
  }
  trace_.events.push_back(
      {.time_ns = static_cast<std::int64_t>(std::max(now_ns_, start_ns_) - start_ns_),
       .id = id,
       .tid = tid,
       .name = name,
       .first_argument = first,
       .argument_count = static_cast<std::uint16_t>(arguments.size()),
       .phase = phase,
       .subject = subject});
  return trace_.events.back();
}

TraceLife TraceWriter::BeginLife(TraceSubject subject, std::int32_t tid, std::uint32_t name,
                                 const TraceArguments& arguments) {
  const TraceLife life = {.subject = subject, .id = ++lives_, .name = name};
  Add(TracePhase::kLifeBegin, subject, life.id, tid, name, arguments);
  return life;
}

void TraceWriter::EndLife(TraceLife* life, std::int32_t tid, const TraceArguments& arguments) {
  SetState(life, tid, 0);
  Add(TracePhase::kLifeEnd, life->subject, life->id, tid, life->name, arguments);
}

void TraceWriter::SetState(TraceLife* life, std::int32_t tid, std::uint32_t text) {
  if (life->state == text) return;
  if (life->state != 0) {
    Add(TracePhase::kLifeEnd, life->subject, life->id, tid, life->state);
  }
  if (text != 0) Add(TracePhase::kLifeBegin, life->subject, life->id, tid, text);
  life->state = text;
}

}  // namespace heldby::collect
