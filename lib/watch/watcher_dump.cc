// The part of the watch that writes dumps.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "watch/dump_text.h"
#include "watch/text_sink.h"
#include "watch/watcher_memory.h"

namespace heldby::watch {
namespace {

constexpr std::int64_t kMostDumpBytes = 8 << 20;
constexpr std::int64_t kLeastDumpBytes = 256 << 10;

}  // namespace

// What goes into the file goes to the disk from now on, so that the pages can be given back.
bool Watcher::WriteDumpFile(const char* partial, const char* name) {
  Memory& memory = *memory_;
  const int folder = memory.folder.fd();
  OwnedFile file;
  if (!file.Set(openat(folder, partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                       0600))) {
    return false;
  }
  const int fd = file.fd();
  // Pages of files count, too: a small group has little room for them.
  std::int64_t most = kMostDumpBytes;
  if (memory.occasion.tightest.kind == LimitKind::kCgroup) {
    const Reading& limit = memory.occasion.tightest;
    most = std::clamp((limit.limit_bytes - limit.used_bytes) / 4, kLeastDumpBytes, most);
  }
  TextSink sink(fd, memory.sink_buffer, sizeof(memory.sink_buffer),
                static_cast<std::size_t>(most));
  DumpText text(core_, memory.holdings, memory.modules, &sink);
  text.Summary(memory.occasion);
  sink.Flush();
  text.Records(/*all_sites=*/true);
  sink.Flush();
  errno = sink.error();
  const bool done = errno == 0 && renameat(folder, partial, folder, name) == 0;
  const int error = errno;
  if (done) {
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  } else {
    unlinkat(folder, partial, 0);
  }
  file.Close();
  errno = error;
  return done;
}

void Watcher::WriteDump(std::int64_t now_ns) {
  Memory& memory = *memory_;
  const Occasion& occasion = memory.occasion;
  const std::int64_t unix_seconds = UnixSeconds();
  char ending[32];
  TextSink end(-1, ending, sizeof(ending), SIZE_MAX);
  end.Text(".").Text(NameOf(occasion.level)).Text(".heap");
  const FileName name = MakeName(getpid(), unix_seconds, {ending, end.column()});
  end.Text(".partial");
  const FileName partial = MakeName(getpid(), unix_seconds, {ending, end.column()});

  // In a group of many, those that hold next to nothing stay silent.
  Refusal refusal = Refusal::kNone;
  std::int64_t free_bytes = 0;
  int error = 0;
  if (occasion.tightest.is_of_others) {
    refusal = Refusal::kSmallProcess;
  } else {
    refusal = memory.folder.Examine(options_.least_free_bytes + kMostDumpBytes, &free_bytes);
  }
  if (refusal == Refusal::kNone) {
    if (now_ns - memory.modules_ns >= 10 * kSecond) RefreshModules(now_ns);
    memory.holdings.Find(core_);
    memory.holdings.FindHeld(core_);
    if (WriteDumpFile(partial.text, name.text)) {
      memory.written = name;
      memory.written_ns = Now();
    } else {
      error = errno;
      refusal = Refusal::kFile;
    }
  }
  if (refusal == Refusal::kNone) {
    ++counts().dumps[static_cast<int>(occasion.level)];
  } else {
    ++counts().refused[static_cast<int>(refusal)];
    if (refusal != Refusal::kSmallProcess) memory.levels.NotWritten();
  }
  Say(free_bytes, refusal, error, name);
  // Not before: a folder of a hundred thousand files takes its time.
  if (refusal == Refusal::kNone) memory.folder.Sweep({memory.buffer, sizeof(memory.buffer)});
}

// What has gone to the disk by now need not stay in memory, where it counts.
void Watcher::ReleasePages() {
  if (memory_->written.text[0] == '\0' || Now() - memory_->written_ns < kSecond) return;
  const int fd = openat(memory_->folder.fd(), memory_->written.text,
                        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  memory_->written = FileName();
  if (fd < 0) return;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  close(fd);
}

void Watcher::Say(std::int64_t free_bytes, Refusal refusal, int error, const FileName& name) {
  if (refusal == Refusal::kSmallProcess) return;
  const Occasion& occasion = memory_->occasion;
  const Reading& limit = occasion.tightest;
  char line[1024];
  TextSink sink(-1, line, sizeof(line), SIZE_MAX);
  sink.Text("heldby: memory is running out: ").Number(limit.used_bytes >> 20).Text(" of ");
  sink.Number(limit.limit_bytes >> 20).Text(" MiB used (").Text(occasion.limit.kind);
  sink.Text(occasion.limit.where[0] != '\0' ? " " : "").Text(occasion.limit.where);
  sink.Text(")");
  if (occasion.level == Level::kSoon) sink.Text(", less than 3 s to go");
  sink.Text(refusal == Refusal::kNone ? "; wrote " : "; no dump: HELDBY_DUMP_DIR ");
  sink.Text(options_.folder);
  switch (refusal) {
    case Refusal::kMemoryFile:
      sink.Text(" is on tmpfs, whose files are memory");
      break;
    case Refusal::kShortDisk:
      sink.Text(" has ").Number(free_bytes >> 20).Text(" MiB free, it takes ");
      sink.Number((options_.least_free_bytes + kMostDumpBytes) >> 20).Text(" MiB");
      break;
    case Refusal::kFile:
      sink.Text(": cannot write ").Text(name.text).Text(" there, error ").Number(error);
      break;
    case Refusal::kNone:
      sink.Text("/").Text(name.text);
      break;
    case Refusal::kSmallProcess:
      break;
  }
  sink.EndLine();
  core_.write_error_line(line, sink.bytes());
}

}  // namespace heldby::watch
