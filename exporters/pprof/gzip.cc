#include "exporters/pprof/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"

namespace heldby {
namespace {

constexpr int kGzipWindowBits = 15 + 16;  // zlib's way to say "with a gzip header"
constexpr int kMemoryLevel = 8;           // zlib's default

Bytef* MutableBytes(std::string_view bytes) {
  // zlib reads through next_in; without ZLIB_CONST its type is not const.
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

uInt Clamp(std::size_t bytes) {
  return static_cast<uInt>(std::min<std::size_t>(bytes, std::numeric_limits<uInt>::max()));
}

// Ends an inflate stream on every way out.
struct Inflater {
  z_stream stream{};
  bool ready = inflateInit2(&stream, kGzipWindowBits) == Z_OK;
  ~Inflater() {
    if (ready) inflateEnd(&stream);
  }
};

Status NotGzip(std::string_view bytes, const z_stream& stream, const char* what) {
  const std::size_t offset = bytes.size() - stream.avail_in;
  return Status(
      StatusCode::kDataLoss,
      absl::StrCat("gzip data is ", what, " at byte ", offset, " of ", bytes.size(),
                   stream.msg != nullptr ? ": " : "", stream.msg != nullptr ? stream.msg : ""));
}

}  // namespace

bool IsGzip(std::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
}

Result<std::string> Gzip(std::string_view bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindowBits, kMemoryLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return Status(StatusCode::kResourceExhausted, "zlib cannot start: out of memory");
  }
  std::string out;
  out.resize(deflateBound(&stream, bytes.size()));
  stream.next_in = MutableBytes(bytes);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  std::size_t unread = bytes.size();
  std::size_t room = out.size();
  int code = Z_OK;
  while (code == Z_OK) {  // more than one turn only beyond 4 GiB: zlib counts in 32 bits
    stream.avail_in = Clamp(unread);
    stream.avail_out = Clamp(room);
    const uInt offered_in = stream.avail_in;
    const uInt offered_out = stream.avail_out;
    code = deflate(&stream, unread == offered_in ? Z_FINISH : Z_NO_FLUSH);
    unread -= offered_in - stream.avail_in;
    room -= offered_out - stream.avail_out;
  }
  deflateEnd(&stream);
  if (code != Z_STREAM_END) {
    return Status(StatusCode::kInternal, absl::StrCat("deflate failed with code ", code));
  }
  out.resize(out.size() - room);
  return out;
}

struct GzipWriter::Deflater {
  z_stream stream{};
  bool ready = deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindowBits, kMemoryLevel,
                            Z_DEFAULT_STRATEGY) == Z_OK;
  int code = Z_OK;
  std::string out;

  ~Deflater() {
    if (ready) deflateEnd(&stream);
  }

  void Take(std::string_view bytes, bool is_last) {
    constexpr std::size_t kStepBytes = 64 * 1024;
    if (!ready) return;
    do {
      const uInt offered = Clamp(bytes.size());
      const std::size_t used = out.size();
      out.resize(used + kStepBytes);
      stream.next_in = MutableBytes(bytes);
      stream.avail_in = offered;
      stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
      stream.avail_out = kStepBytes;
      code = deflate(&stream, is_last && offered == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
      bytes.remove_prefix(offered - stream.avail_in);
      out.resize(used + kStepBytes - stream.avail_out);
      // A full buffer: there may be more to come out.
    } while (code == Z_OK && (is_last || !bytes.empty() || stream.avail_out == 0));
  }
};

GzipWriter::GzipWriter() : deflater_(std::make_unique<Deflater>()) {}
GzipWriter::~GzipWriter() = default;

void GzipWriter::Append(std::string_view bytes) { deflater_->Take(bytes, /*is_last=*/false); }

Result<std::string> GzipWriter::Finish() && {
  if (!deflater_->ready) {
    return Status(StatusCode::kResourceExhausted, "zlib cannot start: out of memory");
  }
  deflater_->Take({}, /*is_last=*/true);
  if (deflater_->code != Z_STREAM_END) {
    return Status(StatusCode::kInternal,
                  absl::StrCat("deflate failed with code ", deflater_->code));
  }
  return std::move(deflater_->out);
}

Result<std::string> Gunzip(std::string_view bytes, std::size_t max_bytes) {
  if (bytes.size() > std::numeric_limits<uInt>::max()) {
    return Status(StatusCode::kResourceExhausted, "gzip data is larger than 4 GiB");
  }
  Inflater inflater;
  if (!inflater.ready) {
    return Status(StatusCode::kResourceExhausted, "zlib cannot start: out of memory");
  }
  z_stream& stream = inflater.stream;
  stream.next_in = MutableBytes(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  while (true) {
    // Output grows with what really comes out: what a header promises costs nothing.
    const std::size_t used = out.size();
    const std::size_t step =
        std::min(std::max<std::size_t>(used, 64 * 1024), max_bytes + 1 - used);
    out.resize(used + step);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + used);
    stream.avail_out = Clamp(step);
    const int code = inflate(&stream, Z_NO_FLUSH);
    out.resize(used + (Clamp(step) - stream.avail_out));
    if (out.size() > max_bytes) {
      return Status(StatusCode::kResourceExhausted,
                    absl::StrCat("gzip data unpacks to more than ", max_bytes, " bytes"));
    }
    if (code == Z_STREAM_END) {
      if (stream.avail_in == 0) return out;
      if (inflateReset(&stream) != Z_OK) return NotGzip(bytes, stream, "unusable");
    } else if (code == Z_MEM_ERROR) {
      return Status(StatusCode::kResourceExhausted, "zlib has no memory left");
    } else if (code == Z_BUF_ERROR ||
               (code == Z_OK && stream.avail_in == 0 && stream.avail_out != 0)) {
      return NotGzip(bytes, stream, "cut off");
    } else if (code != Z_OK) {
      return NotGzip(bytes, stream, "corrupt");
    }
  }
}

}  // namespace heldby
