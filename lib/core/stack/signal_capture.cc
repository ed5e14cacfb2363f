#include "core/stack/signal_capture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "core/base/clock.h"
#include "core/stack/own_signal.h"

namespace heldby::core {
namespace {

constexpr int kAtOnce = 64;
constexpr long kPollNs = 100'000;
// A handler that has begun to write ends within microseconds, unless it is not scheduled.
constexpr std::uint64_t kGraceNs = 20'000'000;

// A question, the slot of its answer. `word` is generation * 4 + phase; the thread is told the
// generation with the signal, and takes only a question that is still open. So a late answer
// changes nothing, and a slot is not reused while somebody writes to it.
enum Phase : std::uint32_t { kIdle, kOpen, kWriting, kDone };
// The thread may have little stack left. What the kernel puts there for any handler, 3 KB on
// machines with wide registers, is not ours to choose; the walk is done on a stack of our own.
constexpr std::size_t kWalkStackBytes = 16 << 10;
struct Question {
  std::atomic<std::uint32_t> word{kIdle};
  std::atomic<std::int32_t> tid{0};
  Holder holder{};
  Stack stack;
  alignas(16) char walk_stack[kWalkStackBytes];
};
Question questions[kAtOnce];
std::atomic<bool> at_work{false};
std::atomic<std::uint32_t> generation{0};

// Anybody with the same user id may send this signal with any value: the question must be open,
// of that generation, and for this thread.
void OnQuestion(const siginfo_t& info, const void* context) {
  const auto value = static_cast<std::uint32_t>(info.si_value.sival_int);
  Question& question = questions[value % kAtOnce];
  std::uint32_t open = value / kAtOnce * 4 + kOpen;
  if (question.tid.load(std::memory_order_relaxed) != syscall(SYS_gettid) ||
      !question.word.compare_exchange_strong(open, open - kOpen + kWriting,
                                             std::memory_order_acq_rel)) {
    return;
  }
  CallOnStack(
      question.walk_stack + kWalkStackBytes,
      [](void* interrupted, void* stack) {
        CaptureInterrupted(interrupted, static_cast<Stack*>(stack));
      },
      const_cast<void*>(context), &question.stack);
  question.holder = thread_slot.holder;
  question.word.store(open - kOpen + kDone, std::memory_order_release);
}

bool Send(std::int32_t tid, int signal, std::uint32_t value) {
  siginfo_t info;
  memset(&info, 0, sizeof(info));
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_int = static_cast<int>(value);
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, &info) == 0;
}

void Pause() {
  timespec pause{0, kPollNs};
  nanosleep(&pause, nullptr);
}

// Some slots may still be written to by a thread that stopped in the middle of its answer.
bool IsFree(std::uint32_t word) { return word % 4 == kIdle || word % 4 == kDone; }

class Batch {
 public:
  Batch(AskedThread* threads, int count, int signal) : threads_(threads), count_(count) {
    // Generations have 24 bits, so that one with the slot fits a signal's value and a word.
    generation_ = (generation.fetch_add(1, std::memory_order_relaxed) + 1) & 0xffffff;
    for (int i = 0; i < count_; ++i) Ask(i, signal);
  }

  void WaitUntil(std::uint64_t deadline_ns) {
    while (!IsAllAnswered() && NowNs() < deadline_ns) Pause();
    const std::uint64_t grace_ns = NowNs() + kGraceNs;
    for (int i = 0; i < count_; ++i) Collect(i, grace_ns);
  }

 private:
  std::uint32_t WordOf(Phase phase) const { return generation_ * 4 + phase; }

  void Ask(int i, int signal) {
    Question& question = questions[i];
    threads_[i].answer = Answer::kNotAsked;
    if (!IsFree(question.word.load(std::memory_order_acquire))) return;
    question.tid.store(threads_[i].tid, std::memory_order_relaxed);
    question.word.store(WordOf(kOpen), std::memory_order_release);
    if (Send(threads_[i].tid, signal, generation_ * kAtOnce + static_cast<std::uint32_t>(i))) {
      threads_[i].answer = Answer::kNone;
      return;
    }
    threads_[i].answer = errno == ESRCH ? Answer::kThreadGone : Answer::kNotAsked;
    question.word.store(kIdle, std::memory_order_release);
  }

  bool IsAllAnswered() const {
    for (int i = 0; i < count_; ++i) {
      if (threads_[i].answer == Answer::kNone &&
          questions[i].word.load(std::memory_order_acquire) != WordOf(kDone)) {
        return false;
      }
    }
    return true;
  }

  void Collect(int i, std::uint64_t grace_ns) {
    if (threads_[i].answer != Answer::kNone) return;
    Question& question = questions[i];
    std::uint32_t word = WordOf(kOpen);
    if (question.word.compare_exchange_strong(word, kIdle, std::memory_order_acq_rel)) return;
    while (word == WordOf(kWriting) && NowNs() < grace_ns) {
      Pause();
      word = question.word.load(std::memory_order_acquire);
    }
    if (word != WordOf(kDone)) return;
    threads_[i].stack = question.stack;
    threads_[i].holder = question.holder;
    threads_[i].answer = Answer::kGiven;
    question.word.store(kIdle, std::memory_order_release);
  }

  AskedThread* threads_;
  int count_;
  std::uint32_t generation_;
};

}  // namespace

int CaptureBySignal(AskedThread* threads, int count, std::uint64_t timeout_ns) {
  for (int i = 0; i < count; ++i) threads[i].answer = Answer::kNotAsked;
  const std::uint64_t deadline_ns = NowNs() + timeout_ns;
  bool idle = false;
  if (count == 0 || SignalsAreForbidden()) return 0;
  if (!at_work.compare_exchange_strong(idle, true)) return 0;
  HandleQuestions(&OnQuestion);
  const int signal = OurSignal();
  for (int i = 0; signal != 0 && i < count && NowNs() < deadline_ns; i += kAtOnce) {
    const int size = count - i < kAtOnce ? count - i : kAtOnce;
    Batch(threads + i, size, signal).WaitUntil(deadline_ns);
  }
  at_work.store(false, std::memory_order_release);
  return signal;
}

void ForgetQuestionsInChild() {
  for (Question& question : questions) question.word.store(kIdle, std::memory_order_relaxed);
  at_work.store(false, std::memory_order_relaxed);
}

}  // namespace heldby::core
