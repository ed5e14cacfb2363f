#include "exporters/report/report.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "exporters/report/graph.h"
#include "exporters/report/tag_filter.h"
#include "exporters/report/units.h"
#include "profile/arithmetic.h"
#include "profile/text.h"

namespace heldby::report {
namespace {

std::int64_t Absolute(std::int64_t value) {
  return value < 0 ? SaturatingNegate(value) : value;
}

// Of a comparison the base alone: its changes are told as parts of it.
std::int64_t TotalOf(const Profile& profile, std::size_t column) {
  std::int64_t total = 0;
  std::int64_t base = 0;
  for (const Sample& sample : profile.samples) {
    const std::int64_t value = Absolute(sample.values[column]);
    total = SaturatingAdd(total, value);
    const bool is_base = std::ranges::any_of(sample.labels, [](const Label& label) {
      return label.key == "pprof::base" && label.text == "true";
    });
    if (is_base) base = SaturatingAdd(base, value);
  }
  return base > 0 ? base : total;
}

// Blurs what the rows shall not tell apart.
void Aggregate(Profile* profile, const Options& options) {
  const Granularity by = options.granularity;
  const bool keeps_function = by != Granularity::kFiles;
  const bool keeps_file = by != Granularity::kFunctions;
  const bool keeps_line = by == Granularity::kLines || by == Granularity::kAddresses;
  for (Function& function : profile->functions) {
    if (!keeps_function) function.name.clear();
    if (!keeps_file) function.filename.clear();
  }
  for (Location& location : profile->locations) {
    if (options.no_inlines && location.lines.size() > 1) {
      location.lines.erase(location.lines.begin(), location.lines.end() - 1);
    }
    if (by != Granularity::kAddresses) location.address = 0;
    if (keeps_line) continue;
    for (Line& line : location.lines) line.line = 0;
  }
}

struct View {
  Profile profile;
  std::size_t column = 0;
  std::int64_t total = 0;
  std::string unit;  // of the output
  std::vector<std::string> warnings{};
  LabelUnits label_units{};

  std::string Text(std::int64_t value) const {
    return ScaledText(value, profile.sample_types[column].unit, unit);
  }
};

Result<View> Prepare(Profile profile, const Options& options) {
  const auto column = FindColumn(profile, options.sample_index);
  if (!column) return column.status();
  View view{.profile = std::move(profile), .column = *column, .unit = options.unit};
  view.label_units = UnitsOfLabels(view.profile);
  AddTagRoots(&view.profile, options.tag_roots, options.unit);
  view.total = TotalOf(view.profile, *column);  // of all samples, filtered or not
  if (Status status = Apply(options.filters, &view.profile, &view.warnings); !status.ok()) {
    return status;
  }
  Aggregate(&view.profile, options);
  return view;
}

// The largest unit in which the smallest row is still 0.01.
void ChooseUnit(const Graph& graph, View* view) {
  if (view->unit != "minimum" || graph.nodes.empty()) return;
  const std::string& from = view->profile.sample_types[view->column].unit;
  std::int64_t smallest = 0;
  for (const Node& node : graph.nodes) {
    const std::int64_t value = node.flat != 0 ? Absolute(node.flat) : Absolute(node.cum);
    if (value > 0 && (smallest == 0 || value < smallest)) smallest = value;
  }
  if (smallest == 0) smallest = view->total;
  const std::int64_t hundredfold = SaturatingMultiply(smallest, 100);
  std::string unit = Scale(smallest, from, "minimum").unit;
  if (unit != Scale(view->total, from, "minimum").unit && hundredfold < view->total) {
    unit = Scale(hundredfold, from, "minimum").unit;
  }
  view->unit = unit.empty() ? from : unit;
}

std::string TimeText(std::int64_t time_ns) {
  const std::time_t seconds = time_ns / 1'000'000'000 - (time_ns % 1'000'000'000 < 0);
  std::tm local{};
  char text[128] = "";
  if (localtime_r(&seconds, &local) != nullptr) {
    // Not strftime's names, which follow the locale.
    constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const int hour = local.tm_hour % 12 == 0 ? 12 : local.tm_hour % 12;
    absl::SNPrintF(text, sizeof(text), "%s %d, %d at %d:%02d%s (%s)", kMonths[local.tm_mon],
                   local.tm_mday, local.tm_year + 1900, hour, local.tm_min,
                   local.tm_hour < 12 ? "am" : "pm", local.tm_zone);
  }
  return text;
}

std::string DurationText(const View& view) {
  const Profile& profile = view.profile;
  const Scaled total = Scale(view.total, profile.sample_types[view.column].unit, "nanoseconds");
  std::string ratio;
  if (total.unit == "ns" && total.value != 0) {
    ratio = Concat("(", Percentage(SaturatingCast(total.value), profile.duration_ns), ")");
  }
  return Concat("Duration: ", ScaledText(profile.duration_ns, "nanoseconds", "auto"),
                ", Total samples = ", view.Text(view.total), " ", ratio);
}

std::vector<std::string> HeaderLines(const View& view) {
  const Profile& profile = view.profile;
  std::vector<std::string> lines;
  if (!profile.mappings.empty()) {
    const Mapping& main = profile.mappings[0];
    if (!main.filename.empty()) {
      lines.push_back("File: " + main.filename.substr(main.filename.rfind('/') + 1));
    }
    if (!main.build_id.empty()) lines.push_back("Build ID: " + main.build_id);
  }
  for (const std::string& comment : profile.comments) {
    if (!comment.starts_with('#')) lines.push_back(comment);
  }
  if (const std::string& type = profile.sample_types[view.column].type; !type.empty()) {
    lines.push_back("Type: " + type);
  }
  if (profile.time_ns != 0) lines.push_back("Time: " + TimeText(profile.time_ns));
  if (profile.duration_ns != 0) lines.push_back(DurationText(view));
  return lines;
}

void AddFilterLines(const Filters& filters, std::vector<std::string>* lines) {
  bool is_first = true;
  for (const auto& [name, text] :
       {std::tuple{"focus=", &filters.focus}, std::tuple{"ignore=", &filters.ignore},
        std::tuple{"hide=", &filters.hide}, std::tuple{"show=", &filters.show},
        std::tuple{"tagfocus=", &filters.tagfocus},
        std::tuple{"tagignore=", &filters.tagignore}}) {
    if (text->empty()) continue;
    if (std::exchange(is_first, false)) lines->push_back("Active filters:");
    std::string line = name + *text;
    if (line.size() > 80) line = line.substr(0, 80) + "…";
    lines->push_back("   " + line);
  }
}

void AddSummary(const View& view, const Graph& graph, const Options& options,
                std::vector<std::string>* lines) {
  std::int64_t flat = 0;
  for (const Node& node : graph.nodes) flat = SaturatingAdd(flat, node.flat);
  std::string part = Percentage(flat, view.total);
  part.erase(0, part.find_first_not_of(' '));
  lines->push_back(Concat("Showing nodes accounting for ", view.Text(flat), ", ", part, " of ",
                          view.Text(view.total), " total"));
  if (view.total == 0) return;
  if (graph.dropped_by_cum > 0) {
    const auto limit =
        Absolute(SaturatingCast(static_cast<double>(view.total) * options.node_fraction));
    lines->push_back(Concat("Dropped ", graph.dropped_by_cum,
                            graph.dropped_by_cum > 1 ? " nodes" : " node",
                            " (cum <= ", view.Text(limit), ")"));
  }
  if (!graph.nodes.empty() && graph.nodes.size() < graph.original_count) {
    lines->push_back(
        Concat("Showing top ", graph.nodes.size(), " nodes out of ", graph.original_count));
  }
}

std::string LabelLines(const View& view, const Sample& sample) {
  // By key: several values of one stand in one line.
  std::map<std::string, std::string> texts;
  std::map<std::string, std::string> numbers;
  for (const Label& label : sample.labels) {
    const bool is_number = label.text.empty();
    std::string& line = (is_number ? numbers : texts)[label.key];
    if (!line.empty()) line += ' ';
    if (!is_number) {
      line += label.text;
    } else {
      const auto unit = view.label_units.find(label.key);
      line += ScaledText(label.number,
                         unit != view.label_units.end() ? unit->second : std::string(), "auto");
    }
  }
  std::string all;
  for (const auto* group : {&texts, &numbers}) {
    std::vector<std::string> lines;
    for (const auto& [key, line] : *group) {
      lines.push_back(absl::StrFormat("%10s:  %s\n", key, line));
    }
    std::ranges::sort(lines);
    absl::StrAppend(&all, absl::StrJoin(lines, ""));
  }
  return all;
}

std::string StackLines(const View& view, const Sample& sample) {
  std::string text;
  std::string value = view.Text(sample.values[view.column]);
  for (LocationId id : sample.stack) {
    const Location& location = view.profile.locations[static_cast<std::size_t>(id) - 1];
    const std::vector<NodeKey> keys = KeysOf(view.profile, location);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      absl::StrAppendFormat(&text, "%10s   %s%s\n", value, PrintableName(keys[i]),
                            i + 1 < keys.size() ? " (inline)" : "");
      value.clear();
    }
  }
  return text;
}

}  // namespace

Result<std::size_t> FindColumn(const Profile& profile, std::string_view name) {
  const auto& types = profile.sample_types;
  const auto find = [&types](std::string_view wanted) {
    return static_cast<std::size_t>(std::ranges::find(types, wanted, &ValueType::type) -
                                    types.begin());
  };
  if (name.empty()) {
    const std::size_t index = find(profile.default_sample_type);
    return index < types.size() ? index : types.size() - 1;
  }
  std::int64_t number = 0;
  const bool is_number = absl::SimpleAtoi(AsPiece(name), &number);
  if (is_number && number >= 0 && static_cast<std::size_t>(number) < types.size()) {
    return static_cast<std::size_t>(number);
  }
  // "inuse_space" of a profile that calls it "space".
  std::string_view plain = name;
  if (plain.starts_with("inuse_")) plain.remove_prefix(6);
  const std::size_t index = std::min(find(name), find(plain));
  if (!is_number && index < types.size()) return index;
  std::string known;
  for (const ValueType& type : types)
    absl::StrAppend(&known, known.empty() ? "" : ", ", type.type);
  return Status(StatusCode::kInvalidArgument,
                Concat("sample_index is \"", name, "\"; accepted: ", known,
                       ", or a number from 0 to ", types.size() - 1));
}

Result<Report> Top(Profile profile, const Options& options) {
  auto view = Prepare(std::move(profile), options);
  if (!view) return view.status();
  const Graph graph = BuildGraph(view->profile, {.column = view->column,
                                                 .node_count = options.node_count,
                                                 .node_fraction = options.node_fraction,
                                                 .edge_fraction = options.edge_fraction,
                                                 .sort_by_cum = options.sort_by_cum,
                                                 .drop_negative = options.drop_negative});
  ChooseUnit(graph, &*view);
  std::vector<std::string> lines = HeaderLines(*view);
  AddFilterLines(options.filters, &lines);
  AddSummary(*view, graph, options, &lines);
  std::string text = absl::StrJoin(lines, "\n");
  absl::StrAppendFormat(&text, "\n%10s %5s%% %5s%% %10s %5s%%\n", "flat", "flat", "sum", "cum",
                        "cum");
  std::int64_t sum = 0;
  for (const Node& node : graph.nodes) {
    sum = SaturatingAdd(sum, node.flat);
    const char* inlined = !node.is_inlined ? ""
                          : node.is_called ? " (partial-inline)"
                                           : " (inline)";
    absl::StrAppendFormat(&text, "%10s %s %s %10s %s  %s%s\n", view->Text(node.flat),
                          Percentage(node.flat, view->total), Percentage(sum, view->total),
                          view->Text(node.cum), Percentage(node.cum, view->total), node.text,
                          inlined);
  }
  return Report{std::move(text), std::move(view->warnings)};
}

Result<Report> Traces(Profile profile, const Options& options) {
  const auto view = Prepare(std::move(profile), options);
  if (!view) return view.status();
  constexpr std::string_view kRule =
      "-----------+-------------------------------------------------------\n";
  std::string text = absl::StrJoin(HeaderLines(*view), "\n") + "\n";
  for (const Sample& sample : view->profile.samples) {
    if (sample.stack.empty()) continue;
    text += Concat(kRule, LabelLines(*view, sample), StackLines(*view, sample));
  }
  text += kRule;
  return Report{std::move(text), view->warnings};
}

}  // namespace heldby::report
