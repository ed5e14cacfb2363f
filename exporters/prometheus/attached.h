// exporters/prometheus/attached.h - the program's own metrics on our page.
//
// Threads  any. A call of somebody's function and its end exclude each other.
// Signals  unsafe: allocates, calls the program's code.
// Bounds   1 MiB of text from each; more is left out, and counted. Two seconds for who came
//          before.
#pragma once

#include <cstdint>
#include <string>

#include "exporters/prometheus/text.h"

namespace heldby::prometheus_text {

/// Everything that is attached, behind what is on the page already.
void AppendAttached(FamilyNames* written, std::string* text);

/// Families, and whole texts, that were left out so far.
[[nodiscard]] std::int64_t AttachedDroppedTotal();

}  // namespace heldby::prometheus_text
