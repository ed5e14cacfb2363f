#include "exporters/report/filter.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "exporters/report/pattern.h"
#include "exporters/report/shorten.h"
#include "exporters/report/tag_filter.h"
#include "exporters/report/units.h"
#include "profile/text.h"

namespace heldby::report {
namespace {

std::size_t IndexOf(LocationId id) { return static_cast<std::size_t>(id) - 1; }

const Function& FunctionOf(const Profile& profile, const Line& line) {
  return profile.functions[static_cast<std::size_t>(line.function) - 1];
}

bool LineMatches(const Profile& profile, const Line& line, const Pattern& pattern) {
  const Function& function = FunctionOf(profile, line);
  return pattern.Found(function.name) || pattern.Found(function.filename);
}

bool MappingMatches(const Profile& profile, const Location& location, const Pattern& pattern) {
  if (location.mapping == MappingId::kNone) return false;
  const std::size_t index = static_cast<std::size_t>(location.mapping) - 1;
  return pattern.Found(profile.mappings[index].filename);
}

bool Matches(const Profile& profile, const Location& location, const Pattern& pattern) {
  return std::ranges::any_of(
             location.lines,
             [&](const Line& line) { return LineMatches(profile, line, pattern); }) ||
         MappingMatches(profile, location, pattern);
}

struct Patterns {
  std::optional<Pattern> focus, ignore, hide, show;
};

struct Verdict {
  bool is_focused = false;
  bool is_ignored = false;
  bool is_hidden = false;
};

struct Seen {
  bool focus = false, ignore = false, hide = false, show = false;
};

Verdict Judge(const Patterns& patterns, const Profile& profile, Location* location,
              Seen* seen) {
  Verdict verdict;
  verdict.is_ignored = patterns.ignore && Matches(profile, *location, *patterns.ignore);
  verdict.is_focused =
      !verdict.is_ignored && (!patterns.focus || Matches(profile, *location, *patterns.focus));
  seen->ignore |= verdict.is_ignored;
  seen->focus |= verdict.is_focused;
  if (patterns.hide && Matches(profile, *location, *patterns.hide)) {
    seen->hide = true;
    const bool is_whole = MappingMatches(profile, *location, *patterns.hide);
    std::erase_if(location->lines, [&](const Line& line) {
      return is_whole || LineMatches(profile, line, *patterns.hide);
    });
    verdict.is_hidden = location->lines.empty();
  }
  if (patterns.show) {
    if (!MappingMatches(profile, *location, *patterns.show)) {
      std::erase_if(location->lines, [&](const Line& line) {
        return !LineMatches(profile, line, *patterns.show);
      });
    }
    verdict.is_hidden = verdict.is_hidden || location->lines.empty();
    seen->show |= !location->lines.empty();
  }
  return verdict;
}

void FilterByName(const Patterns& patterns, Profile* profile, Seen* seen) {
  std::vector<Verdict> verdicts;
  verdicts.reserve(profile->locations.size());
  for (Location& location : profile->locations) {
    verdicts.push_back(Judge(patterns, *profile, &location, seen));
  }
  std::erase_if(profile->samples, [&](Sample& sample) {
    bool is_focused = false;
    for (LocationId id : sample.stack) {
      if (verdicts[IndexOf(id)].is_ignored) return true;
      is_focused |= verdicts[IndexOf(id)].is_focused;
    }
    if (!is_focused) return true;
    std::erase_if(sample.stack, [&](LocationId id) { return verdicts[IndexOf(id)].is_hidden; });
    return sample.stack.empty();
  });
}

Status FilterByTag(const Filters& filters, Profile* profile,
                   std::vector<std::string>* warnings) {
  const LabelUnits units = UnitsOfLabels(*profile);
  const std::pair<const char*, const std::string*> asked[] = {
      {"tagfocus", &filters.tagfocus}, {"tagignore", &filters.tagignore}};
  for (const auto& [name, text] : asked) {
    if (text->empty()) continue;
    const bool is_focus = text == &filters.tagfocus;
    const auto filter = CompileTagFilter(name, *text, units);
    if (!filter) return filter.status();
    bool has_match = false;
    std::erase_if(profile->samples, [&](const Sample& sample) {
      const bool matches = (*filter)(sample);
      has_match |= matches;
      return matches != is_focus;
    });
    if (!has_match) warnings->push_back(Concat(name, " expression matched no samples"));
  }
  return Status();
}

Status CompileInto(std::string_view name, const std::string& text,
                   std::optional<Pattern>* pattern) {
  if (text.empty()) return Status();
  auto compiled = Pattern::Compile(name, text);
  if (!compiled) return compiled.status();
  *pattern = *std::move(compiled);
  return Status();
}

// What a location loses: nothing, some of its innermost lines, or itself.
enum class Cut { kNone, kBeneath, kWhole };

Cut CutLines(const Profile& profile, const Pattern& drop, const std::optional<Pattern>& keep,
             Location* location) {
  for (std::size_t i = location->lines.size(); i-- > 0;) {
    const std::string& full = FunctionOf(profile, location->lines[i]).name;
    const std::string_view name = NameForPattern(full);
    if (full.empty() || !drop.Matches(name) || (keep && keep->Matches(name))) continue;
    if (i + 1 == location->lines.size()) return Cut::kWhole;
    location->lines.erase(location->lines.begin(),
                          location->lines.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    return Cut::kBeneath;
  }
  return Cut::kNone;
}

std::string LabelText(const Sample& sample, const std::string& key, const std::string& unit) {
  std::string text;
  const auto add = [&text](const std::string& value) {
    if (!text.empty()) text += ',';
    text += value;
  };
  for (const Label& label : sample.labels) {
    if (label.key == key && !label.text.empty()) add(label.text);
  }
  for (const Label& label : sample.labels) {
    if (label.key != key || !label.text.empty()) continue;
    add(label.number_unit.empty() ? ScaledText(label.number, "", "")
                                  : ScaledText(label.number, label.number_unit, unit));
  }
  return text;
}

}  // namespace

Status DropUninteresting(Profile* profile) {
  if (profile->drop_frames.empty()) return Status();
  const auto drop = Pattern::Compile("drop_frames", profile->drop_frames);
  if (!drop) return drop.status();
  std::optional<Pattern> keep;
  if (Status status = CompileInto("keep_frames", profile->keep_frames, &keep); !status.ok()) {
    return status;
  }
  std::vector<Cut> cuts;
  for (Location& location : profile->locations) {
    cuts.push_back(CutLines(*profile, *drop, keep, &location));
  }
  for (Sample& sample : profile->samples) {
    bool has_user_frame = false;
    for (std::size_t i = sample.stack.size(); i-- > 0;) {
      const Cut cut = cuts[IndexOf(sample.stack[i])];
      has_user_frame |= cut == Cut::kNone;
      if (cut == Cut::kNone || !has_user_frame) continue;
      const std::size_t gone = cut == Cut::kWhole ? i + 1 : i;
      sample.stack.erase(sample.stack.begin(),
                         sample.stack.begin() + static_cast<std::ptrdiff_t>(gone));
      break;
    }
  }
  return Status();
}

void AddTagRoots(Profile* profile, const std::vector<std::string>& keys,
                 const std::string& unit) {
  std::map<std::pair<std::string, std::string>, LocationId> known;
  for (Sample& sample : profile->samples) {
    for (std::size_t i = keys.size(); i-- > 0;) {
      const std::string name = LabelText(sample, keys[i], unit);
      LocationId& id = known[{keys[i], name}];
      if (id == LocationId{}) {
        profile->functions.push_back({.name = name, .filename = keys[i]});
        const auto function = static_cast<FunctionId>(profile->functions.size());
        profile->locations.push_back({.lines = {{.function = function}}});
        id = static_cast<LocationId>(profile->locations.size());
      }
      sample.stack.push_back(id);
    }
  }
}

Status Apply(const Filters& filters, Profile* profile, std::vector<std::string>* warnings) {
  Patterns patterns;
  for (const auto& [name, text, pattern] :
       {std::tuple{"focus", &filters.focus, &patterns.focus},
        std::tuple{"ignore", &filters.ignore, &patterns.ignore},
        std::tuple{"hide", &filters.hide, &patterns.hide},
        std::tuple{"show", &filters.show, &patterns.show}}) {
    if (Status status = CompileInto(name, *text, pattern); !status.ok()) return status;
  }
  Seen seen;
  FilterByName(patterns, profile, &seen);
  for (const auto& [name, is_asked, has_match] :
       {std::tuple{"focus", patterns.focus.has_value(), seen.focus},
        std::tuple{"ignore", patterns.ignore.has_value(), seen.ignore},
        std::tuple{"hide", patterns.hide.has_value(), seen.hide},
        std::tuple{"show", patterns.show.has_value(), seen.show}}) {
    if (is_asked && !has_match) {
      warnings->push_back(Concat(name, " expression matched no samples"));
    }
  }
  return FilterByTag(filters, profile, warnings);
}

}  // namespace heldby::report
