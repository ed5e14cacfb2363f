#include "collect/await_chains.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace heldby::collect {
namespace {

struct Read {
  ParkedTask* task;
  const core::AwaitFrame* frame;
};

// A piece of memory that holds one or more of the frames.
struct Window {
  std::uintptr_t begin;
  std::uintptr_t end;
};

// Frames of one page are read together: the kernel's price is by the piece, and coroutines that
// were made one after the other lie side by side. Then what lies between is read as well.
constexpr std::uintptr_t kPage = 4096;

class Copier {
 public:
  /// frames[i] is what reads[i] names, where good[i].
  void Copy(std::span<const Read> reads, std::span<core::AwaitFrame> frames,
            std::span<bool> good) {
    order_.resize(reads.size());
    for (std::size_t i = 0; i < reads.size(); ++i) order_[i] = i;
    std::ranges::sort(order_, {}, [&](std::size_t i) { return Address(reads[i]); });
    MakeWindows(reads);
    Fill();
    for (std::size_t i = 0; i < reads.size(); ++i) {
      const std::size_t window = window_of_[i];
      const std::uintptr_t from = Address(reads[i]);
      good[i] = is_read_[window];
      if (!good[i]) continue;
      std::memcpy(&frames[i], bytes_.data() + offset_[window] + (from - windows_[window].begin),
                  sizeof(core::AwaitFrame));
    }
  }

 private:
  static std::uintptr_t Address(const Read& read) {
    return reinterpret_cast<std::uintptr_t>(read.frame);
  }

  void MakeWindows(std::span<const Read> reads) {
    windows_.clear();
    window_of_.resize(reads.size());
    for (const std::size_t i : order_) {
      const std::uintptr_t from = Address(reads[i]);
      const std::uintptr_t until = from + sizeof(core::AwaitFrame);
      if (!windows_.empty() && until >= from &&
          (until - 1) / kPage == windows_.back().begin / kPage) {
        windows_.back().end = std::max(windows_.back().end, until);
      } else {
        windows_.push_back({from, until});
      }
      window_of_[i] = windows_.size() - 1;
    }
  }

  // A window that cannot be read ends the kernel's copy, which goes on behind it.
  void Fill() {
    std::vector<iovec> remote;
    offset_.clear();
    std::size_t total = 0;
    for (const Window& window : windows_) {
      const std::size_t size = window.end - window.begin;
      remote.push_back({reinterpret_cast<void*>(window.begin), size});
      offset_.push_back(total);
      total += size;
    }
    bytes_.resize(total);
    is_read_.assign(windows_.size(), false);
    for (std::size_t next = 0; next < remote.size();) {
      const iovec local = {bytes_.data() + offset_[next], total - offset_[next]};
      const ssize_t got =
          ::process_vm_readv(::gettid(), &local, 1, &remote[next], remote.size() - next, 0);
      std::size_t left = got > 0 ? static_cast<std::size_t>(got) : 0;
      for (; next < remote.size() && left >= remote[next].iov_len; ++next) {
        left -= remote[next].iov_len;
        is_read_[next] = true;
      }
      ++next;
    }
  }

  std::vector<std::size_t> order_;
  std::vector<Window> windows_;
  std::vector<std::size_t> window_of_;  // of each read
  std::vector<std::size_t> offset_;     // of each window, in bytes_
  std::vector<bool> is_read_;
  std::vector<char> bytes_;
};

}  // namespace

void ReadChains(const core::RegistryApi& registry, std::span<ParkedTask> tasks) {
  std::vector<Read> reads;
  for (ParkedTask& task : tasks) {
    if (task.view.chain != nullptr) reads.push_back({&task, task.view.chain});
  }
  std::array<core::AwaitFrame, kChainBatch> frames;
  std::array<bool, kChainBatch> good;
  Copier copier;
  for (std::size_t depth = 0; depth < kMaxChain && !reads.empty(); ++depth) {
    copier.Copy(reads, frames, good);
    std::vector<Read> next;
    for (std::size_t i = 0; i < reads.size(); ++i) {
      if (!good[i]) {
        reads[i].task->chain.clear();
        continue;
      }
      reads[i].task->chain.push_back(
          {reinterpret_cast<std::uintptr_t>(frames[i].code), frames[i].place});
      if (frames[i].awaiter != nullptr) next.push_back({reads[i].task, frames[i].awaiter});
    }
    reads = std::move(next);
  }
  for (ParkedTask& task : tasks) {
    if (!task.chain.empty() && registry.task_runs(task.view.id) != task.view.runs) {
      task.chain.clear();
    }
  }
}

}  // namespace heldby::collect
