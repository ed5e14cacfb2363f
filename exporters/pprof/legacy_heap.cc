// Heap text: one header, one line per stack.
//   heap profile:  3: 300 [ 9: 900] @ heap_v2/524288
//     1: 100 [ 3: 300] @ 0x401234 0x401000
#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

#include "exporters/pprof/legacy_parts.h"
#include "profile/arithmetic.h"
#include "profile/drop_frames.h"

namespace heldby::legacy {
namespace {

struct Pair {
  std::int64_t objects = 0;
  std::int64_t bytes = 0;
};

bool TakePairs(Cursor* cursor, Pair* inuse, Pair* alloc) {
  return cursor->TakeInt(&inuse->objects) && cursor->Take(":") &&
         cursor->TakeInt(&inuse->bytes) && cursor->Take("[") &&
         cursor->TakeInt(&alloc->objects) && cursor->Take(":") &&
         cursor->TakeInt(&alloc->bytes) && cursor->Take("]") && cursor->Take("@");
}

struct Header {
  bool has_alloc = false;       // four columns, not two
  bool is_sampled = false;      // values must be unsampled
  std::int64_t rate_bytes = 0;  // R
  std::int64_t period = 0;
};

Result<Header> ParseHeader(const Lines& lines) {
  Cursor cursor(lines.line());
  Pair inuse;
  Pair alloc;
  if (!cursor.Take("heap profile:") || !TakePairs(&cursor, &inuse, &alloc)) {
    return lines.Bad("expected \"heap profile: <n>: <bytes> [<n>: <bytes>] @ <type>\"");
  }
  Header header;
  // Totals that differ say that both halves were counted.
  header.has_alloc = (alloc.objects != inuse.objects && alloc.objects != 0) ||
                     (alloc.bytes != inuse.bytes && alloc.bytes != 0);
  const std::string_view word = cursor.TakeWord();
  const std::size_t slash = word.find('/');
  const std::string_view type = word.substr(0, slash);
  if (slash != word.npos) {
    Cursor number(word.substr(slash + 1));
    if (!number.TakeInt(&header.rate_bytes) || !number.rest().empty() ||
        header.rate_bytes < 0) {
      return lines.Bad("\"", word, "\": the sampling distance is not a number");
    }
  }
  if (type == "heap_v2" || type == "heapz_v2") {
    header.is_sampled = true;
  } else if (type == "heap") {
    header.is_sampled = true;
    header.rate_bytes /= 2;  // Go writes twice the rate
  } else if (type == "heapprofile" || type.starts_with("growth") ||
             type.starts_with("fragmentation")) {
    header.rate_bytes = 1;
    if (type != "heapprofile") header.has_alloc = false;
  } else {
    return lines.Bad("\"", type, "\" is not a heap profile type known here");
  }
  header.period = header.rate_bytes;
  return header;
}

// An object of s bytes is seen with probability 1 - exp(-s/R), so what was seen stands for
// 1/that many. Truncated as pprof does, to agree with it to the byte.
Pair Unsample(const Pair& seen, const Header& header) {
  if (!header.is_sampled || header.rate_bytes <= 1) return seen;
  if (seen.objects == 0 || seen.bytes == 0) return {};
  const double mean = static_cast<double>(seen.bytes) / static_cast<double>(seen.objects);
  const double scale = 1 / (1 - std::exp(-mean / static_cast<double>(header.rate_bytes)));
  return {SaturatingCast(static_cast<double>(seen.objects) * scale),
          SaturatingCast(static_cast<double>(seen.bytes) * scale)};
}

std::int64_t MeanBytes(const Pair& pair, std::int64_t otherwise) {
  if (pair.objects == 0) return otherwise;
  if (pair.objects == -1) return SaturatingNegate(pair.bytes);  // min / -1 would overflow
  return pair.bytes / pair.objects;
}

Status ParseRecord(const Lines& lines, const Header& header, Draft::Record* record) {
  Cursor cursor(lines.line());
  Pair inuse;
  Pair alloc;
  if (!TakePairs(&cursor, &inuse, &alloc)) {
    return lines.Bad("expected \"<n>: <bytes> [<n>: <bytes>] @ <addresses>\"");
  }
  if (!TakeCallAddresses(&cursor, &record->stack)) {
    return lines.Bad("\"", cursor.rest(), "\" is not a list of 64-bit addresses");
  }
  if (inuse.objects == 0 && inuse.bytes != 0) {
    return lines.Bad("no objects in use, but ", inuse.bytes, " bytes");
  }
  if (header.has_alloc) {
    if (alloc.objects == 0 && alloc.bytes != 0) {
      return lines.Bad("no objects allocated, but ", alloc.bytes, " bytes");
    }
    const Pair estimate = Unsample(alloc, header);
    record->values = {estimate.objects, estimate.bytes};
    record->block_bytes = MeanBytes(alloc, 0);
  }
  const Pair estimate = Unsample(inuse, header);
  record->values.push_back(estimate.objects);
  record->values.push_back(estimate.bytes);
  record->block_bytes = MeanBytes(inuse, record->block_bytes);
  return Status();
}

}  // namespace

bool IsHeap(std::string_view bytes) { return bytes.starts_with("heap profile:"); }

Result<Profile> ParseHeap(std::string_view bytes, Budget* budget) {
  Lines lines(bytes);
  lines.Next();
  const Result<Header> header = ParseHeader(lines);
  if (!header.ok()) return header.status();

  Draft draft;
  if (header->has_alloc) {
    // inuse last: without a default, readers show the last column.
    draft.sample_types = {{"alloc_objects", "count"},
                          {"alloc_space", "bytes"},
                          {"inuse_objects", "count"},
                          {"inuse_space", "bytes"}};
  } else {
    draft.sample_types = {{"objects", "count"}, {"space", "bytes"}};
  }
  draft.period_type = {"space", "bytes"};
  draft.period = header->period;
  draft.drop_frames = kHeapDropFrames;
  draft.has_block_bytes = true;
  while (lines.Next() && !IsMapsHeading(lines.line())) {
    if (IsBlank(lines.line())) continue;
    Draft::Record record;
    if (Status status = ParseRecord(lines, *header, &record); !status.ok()) return status;
    draft.records.push_back(std::move(record));
  }
  return Finish(std::move(draft), lines.rest(), budget);
}

}  // namespace heldby::legacy
