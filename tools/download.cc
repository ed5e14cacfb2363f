#include "tools/download.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "exporters/http/access.h"
#include "exporters/pprof/gzip.h"
#include "profile/text.h"
#include "tools/http_client.h"

namespace heldby::tools {
namespace {

constexpr std::size_t kMaxUnpackedBytes = std::size_t{1} << 30;
constexpr int kMaxRedirects = 5;

Result<std::string> Token(const DownloadOptions& options) {
  if (!options.token_file.empty()) {
    return http::ReadTokenFile("-token-file", options.token_file);
  }
  const char* file = getenv("HELDBY_TOKEN_FILE");
  if (file == nullptr || *file == '\0') return std::string();
  return http::ReadTokenFile("HELDBY_TOKEN_FILE", file);
}

// How far a timed profile is; nothing for one that comes at once.
class Progress {
 public:
  Progress(std::string_view command, const Source& source, bool is_asked)
      : prefix_(Concat(command, ": ", ProfileNameOf(source))),
        seconds_(SecondsIn(source)),
        is_terminal_(isatty(STDERR_FILENO) != 0),
        is_shown_(is_terminal_ || is_asked) {}

  ~Progress() {
    if (is_terminal_ && has_line_) std::fputs("\r\033[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Show(std::int64_t waited) {
    if (!is_shown_) return;
    std::string line = Concat(prefix_, ": ", waited, " s");
    if (seconds_ > 0) {
      line = waited > seconds_ ? Concat(prefix_, ": ", seconds_, " s are over, waiting")
                               : Concat(prefix_, ": ", waited, " of ", seconds_, " s");
    }
    const std::string shown = is_terminal_ ? "\r\033[K" + line : line + "\n";
    std::fputs(shown.c_str(), stderr);
    std::fflush(stderr);
    has_line_ = true;
  }

 private:
  const std::string prefix_;
  const std::int64_t seconds_;
  const bool is_terminal_;
  const bool is_shown_;
  bool has_line_ = false;
};

// What a server says may end up on a terminal, which obeys some characters.
std::string Harmless(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      clean += c;
    } else {
      clean += c == '\n' || c == '\t' ? std::string(1, c) : absl::StrFormat("\\x%02x", byte);
    }
  }
  while (clean.ends_with('\n')) clean.pop_back();
  return clean;
}

Status Refusal(const Source& source, const Reply& reply) {
  std::string message =
      Concat(UrlOf(source), ": server response: ", reply.status, " ", Harmless(reply.reason));
  if (reply.is_from_pprof && absl::StrContains(reply.content_type, "text/plain")) {
    absl::StrAppend(&message, " - ", Harmless(std::string_view(reply.body).substr(0, 4096)));
  }
  return Status(StatusCode::kUnavailable, message);
}

bool IsRedirect(unsigned status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The body without what the transfer added, and proof that it is all there: a server that gives
// no length can break off without any other sign.
Status Unwrap(const Source& source, Reply* reply) {
  if (absl::StrContains(reply->content_encoding, "gzip")) {
    auto plain = Gunzip(reply->body, kMaxUnpackedBytes);
    if (!plain)
      return Status(plain.status().code(),
                    Concat(UrlOf(source), ": ", plain.status().message()));
    reply->body = *std::move(plain);
  }
  if (IsGzip(reply->body)) {
    const auto unpacked = Gunzip(reply->body, kMaxUnpackedBytes);
    if (!unpacked) {
      return Status(unpacked.status().code(),
                    Concat(UrlOf(source), ": ", unpacked.status().message()));
    }
  }
  if (reply->body.empty()) return Status(StatusCode::kDataLoss, UrlOf(source) + ": no body");
  return Status();
}

}  // namespace

void AddDownloadFlags(DownloadOptions* options, Flags* flags) {
  flags->Count("seconds", &options->seconds);
  flags->Count("timeout", &options->timeout);
  flags->Text("token-file", &options->token_file);
  flags->Switch("progress", &options->progress);
}

Result<Download> Fetch(std::string_view target, std::string_view profile,
                       const DownloadOptions& options, std::string_view command) {
  const auto source = ParseSource(target, profile);
  if (!source) return source.status();
  return FetchFrom(*source, options, command);
}

Result<Download> FetchFrom(const Source& from, const DownloadOptions& options,
                           std::string_view command) {
  Result<Source> source = from;
  if (options.seconds > 0) SetSeconds(static_cast<std::int64_t>(options.seconds), &*source);
  const auto token = Token(options);
  if (!token) return token.status();

  const std::int64_t seconds = SecondsIn(*source);
  std::chrono::seconds timeout(60);
  if (options.timeout > 0) {
    timeout = std::chrono::seconds(options.timeout);
  } else if (seconds > 0 && seconds < 1'000'000) {
    timeout = std::chrono::seconds(seconds + seconds / 2);
  }
  Progress progress(command, *source, options.progress);
  const GetOptions get = {
      .token = *token,
      .header_timeout = timeout + std::chrono::seconds(5),
      .on_wait = [&progress](std::int64_t waited) { progress.Show(waited); }};
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    auto reply = Get(*source, get);
    if (!reply) return reply.status();
    if (reply->status == 200) {
      if (Status status = Unwrap(*source, &*reply); !status.ok()) return status;
      return Download{*std::move(source), std::move(reply->content_type),
                      std::move(reply->body)};
    }
    if (!IsRedirect(reply->status)) return Refusal(*source, *reply);
    auto next = Follow(*source, reply->location);
    if (!next)
      return Status(next.status().code(),
                    Concat(UrlOf(*source), ": ", next.status().message()));
    source = std::move(next);
  }
  return Status(StatusCode::kUnavailable, UrlOf(*source) + ": redirected more than 5 times");
}

}  // namespace heldby::tools
