// exporters/pprof/gzip.h - gzip in memory.
//
// Threads  any.
// Signals  unsafe: allocates.
// Units    bytes.
// Bounds   Gunzip() stops at max_bytes of output, whatever the input promises.
// Source   zlib. Level 1 as in Go: profiles are taken often and read rarely.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "heldby/status.h"

namespace heldby {

[[nodiscard]] bool IsGzip(std::string_view bytes);

/// kResourceExhausted  zlib has no memory.
[[nodiscard]] Result<std::string> Gzip(std::string_view bytes);

/// The same for what comes in pieces and is never there as a whole.
class GzipWriter {
 public:
  GzipWriter();
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;
  ~GzipWriter();

  void Append(std::string_view bytes);
  /// Errors as of Gzip(), those of Append() too.
  [[nodiscard]] Result<std::string> Finish() &&;

 private:
  struct Deflater;
  std::unique_ptr<Deflater> deflater_;
};

/// All members of a gzip file, one after the other, as gunzip does.
/// kDataLoss           not gzip, or cut off; the message names the offset.
/// kResourceExhausted  more than max_bytes come out.
[[nodiscard]] Result<std::string> Gunzip(std::string_view bytes, std::size_t max_bytes);

}  // namespace heldby
