#include "collect/await_chains.h"

#include <sys/uio.h>
#include <unistd.h>

#include <array>

namespace heldby::collect {
namespace {

struct Read {
  ParkedTask* task;
  const core::AwaitFrame* frame;
};

// Copies each frame; false in `good` where it is not readable. One that is not ends the
// kernel's copy, which goes on behind it.
void Copy(std::span<const Read> reads, std::span<core::AwaitFrame> frames,
          std::span<bool> good) {
  std::array<iovec, kChainBatch> remote;
  for (std::size_t i = 0; i < reads.size(); ++i) {
    remote[i] = {const_cast<core::AwaitFrame*>(reads[i].frame), sizeof(core::AwaitFrame)};
    good[i] = false;
  }
  for (std::size_t from = 0; from < reads.size();) {
    const iovec local = {&frames[from], (reads.size() - from) * sizeof(core::AwaitFrame)};
    const ssize_t got =
        ::process_vm_readv(::getpid(), &local, 1, &remote[from], reads.size() - from, 0);
    const std::size_t whole =
        got > 0 ? static_cast<std::size_t>(got) / sizeof(core::AwaitFrame) : 0;
    for (std::size_t i = from; i < from + whole; ++i) good[i] = true;
    from += whole + 1;
  }
}

}  // namespace

void ReadChains(const core::RegistryApi& registry, std::span<ParkedTask> tasks) {
  std::vector<Read> reads;
  for (ParkedTask& task : tasks) {
    if (task.view.chain != nullptr) reads.push_back({&task, task.view.chain});
  }
  std::array<core::AwaitFrame, kChainBatch> frames;
  std::array<bool, kChainBatch> good;
  for (std::size_t depth = 0; depth < kMaxChain && !reads.empty(); ++depth) {
    Copy(reads, frames, good);
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
