#include "core/registry/descriptors.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"

namespace heldby::core {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::size_t kBytes = sizeof(std::atomic<std::uint32_t>) * Descriptors::kCount;

int Option(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

// Datagrams have no peer that could stop reading. One system call for TCP, which is what comes
// by the thousand.
bool IsStream(int fd) {
  const int kept = errno;
  const int protocol = Option(fd, SO_PROTOCOL);
  const bool stream =
      protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP ||
      (protocol == 0 && Option(fd, SO_DOMAIN) == AF_UNIX && Option(fd, SO_TYPE) == SOCK_STREAM);
  errno = kept;
  return stream;
}

std::uint64_t Counted(std::uint32_t id, std::uint32_t count) {
  return std::uint64_t{id} << 32 | count;
}

// Changes how many descriptors `id` has, if the record is still its own and has any. What is
// left; -1: it has gone.
std::int64_t AddDescriptors(ConnectionRecord& record, std::uint32_t id, int change) {
  std::uint64_t before = record.descriptors.load(std::memory_order_acquire);
  for (;;) {
    const auto count = static_cast<std::uint32_t>(before);
    if (before >> 32 != id || count == 0) return -1;
    const std::uint32_t after = count + static_cast<std::uint32_t>(change);
    if (record.descriptors.compare_exchange_weak(before, Counted(id, after),
                                                 std::memory_order_acq_rel)) {
      return after;
    }
  }
}

}  // namespace

constinit Descriptors descriptors{&registry};

bool Descriptors::Watch() {
  if (watching()) return true;
  auto* slots = static_cast<std::atomic<std::uint32_t>*>(MapPages(kBytes));
  if (slots == nullptr) return false;
  owner_.store(getpid(), kRelaxed);
  slots_.store(slots, std::memory_order_release);
  return true;
}

bool Descriptors::Ours() const { return getpid() == owner_.load(kRelaxed); }

void Descriptors::Enter(int fd, std::uint32_t id) {
  int used = used_.load(kRelaxed);
  while (fd >= used && !used_.compare_exchange_weak(used, fd + 1, kRelaxed)) {
  }
  const std::uint32_t before = slots_.load(kRelaxed)[fd].exchange(id);
  if (before != 0) Drop(fd, before);  // its close went past us
}

void Descriptors::Bind(int fd, std::uint32_t id) {
  if (!watching() || id == 0 || fd < 0 || fd >= kCount || !Ours()) return;
  ConnectionRecord& record = registry_->connections.Get(id);
  if (record.cookie.load(kRelaxed) == 0) return;  // not a socket
  record.descriptors.store(Counted(id, 1), std::memory_order_release);
  Enter(fd, id);
}

std::uint32_t Descriptors::Open(int fd, bool outbound, std::uintptr_t caller,
                                StackTable* stacks) {
  // What a vfork child opens is not here, and its numbers mean other sockets here.
  if (!watching() || fd < 0 || !Ours() || !IsStream(fd)) return 0;
  if (fd >= kCount) {
    dropped_.fetch_add(1, kRelaxed);
    return 0;
  }
  const std::uint32_t id =
      registry_->OpenConnection(fd, outbound, /*implicit=*/true, caller, stacks);
  if (id != 0) Bind(fd, id);
  return id;
}

bool Descriptors::IsStill(int fd, std::uint32_t id) {
  const ConnectionRecord* record = registry_->connections.Open(id);
  return record != nullptr && record->cookie.load(kRelaxed) == SocketCookie(fd);
}

void Descriptors::Suggest(std::uint32_t id) {
  const ConnectionRecord* record = registry_->connections.Open(id);
  if (record != nullptr) thread_slot.guess = {record->cookie.load(kRelaxed), id};
}

// A function of its own, called last: Received() then has no register to save.
__attribute__((noinline)) std::ptrdiff_t Descriptors::CheckReceived(ConnectionRecord* record,
                                                                    int fd, std::uint32_t id,
                                                                    std::ptrdiff_t got) {
  const std::uint64_t now_ns = CoarseNowNs();
  if (now_ns - record->checked_ns.load(kRelaxed) > kCheckNs) {
    record->checked_ns.store(now_ns, kRelaxed);
    if (!IsStill(fd, id)) {
      Close(fd, id);
      return got;
    }
  }
  thread_slot.guess = {record->cookie.load(kRelaxed), id};
  return got;
}

std::ptrdiff_t Descriptors::Received(int fd, std::uint32_t id, std::ptrdiff_t got) {
  // Closed, and perhaps opened anew, while the call waited.
  if (slots_.load(kRelaxed)[fd].load(std::memory_order_acquire) != id) return got;
  ConnectionRecord* record = registry_->connections.Open(id);
  if (record == nullptr) return got;
  const std::uint32_t receives = record->receives.load(kRelaxed);
  record->receives.store(receives + 1, kRelaxed);  // one that is lost delays a check
  if (receives % kLookEvery == 0) [[unlikely]] {
    return CheckReceived(record, fd, id, got);
  }
  thread_slot.guess = {record->cookie.load(kRelaxed), id};
  return got;
}

void Descriptors::Share(std::uint32_t id, int fd) {
  if (id == 0 || fd < 0 || !Ours()) return;
  if (fd >= kCount) {
    dropped_.fetch_add(1, kRelaxed);
    return;
  }
  if (AddDescriptors(registry_->connections.Get(id), id, 1) > 0) Enter(fd, id);
}

std::uint32_t Descriptors::Take(int fd) {
  if (Look(fd) == 0 || !Ours()) return 0;
  return slots_.load(kRelaxed)[fd].exchange(0);
}

void Descriptors::PutBack(int fd, std::uint32_t id) {
  std::uint32_t none = 0;
  if (!slots_.load(kRelaxed)[fd].compare_exchange_strong(none, id)) Drop(fd, id);
}

void Descriptors::Close(int fd, std::uint32_t id) {
  if (Look(fd) != id || !Ours()) return;
  std::uint32_t expected = id;
  if (slots_.load(kRelaxed)[fd].compare_exchange_strong(expected, 0)) Drop(fd, id);
}

void Descriptors::Drop(int fd, std::uint32_t id) {
  ConnectionRecord& record = registry_->connections.Get(id);
  const std::int64_t left = AddDescriptors(record, id, -1);
  if (left < 0) return;
  if (left == 0) {
    if (thread_slot.guess.connection == id) thread_slot.guess = {};
    if (record.implicit.load(kRelaxed)) {
      registry_->EndConnection(id);
    } else {
      registry_->RememberPeer(id);
    }
    return;
  }
  // A duplicate stays, or this was one: then there is nothing to look for.
  if (record.fd.load(kRelaxed) != fd) return;
  // The reference keeps the record from becoming another's meanwhile.
  if (!registry_->connections.Ref(id)) return;
  std::int32_t was = fd;
  const int another = Another(id, 0);
  if (another >= 0) record.fd.compare_exchange_strong(was, another);
  registry_->connections.Unref(id);
}

int Descriptors::Another(std::uint32_t id, std::uint64_t cookie) const {
  const int used = used_.load(kRelaxed);
  for (int fd = 0; fd < used; ++fd) {
    if (Look(fd) == id && (cookie == 0 || SocketCookie(fd) == cookie)) return fd;
  }
  return -1;
}

std::uint32_t Descriptors::TakeOver(int fd, bool outbound, std::uintptr_t caller,
                                    StackTable* stacks) {
  const std::uint32_t id = Look(fd);
  if (id == 0 || !IsStill(fd, id)) return 0;
  return registry_->TakeOverConnection(id, outbound, caller, stacks) ? id : 0;
}

void Descriptors::Unbind(std::uint32_t id) {
  if (!watching()) return;
  const ConnectionRecord* record = registry_->connections.Open(id);
  if (record == nullptr) return;
  const int fd = record->fd.load(kRelaxed);
  if (Look(fd) != id || !Ours()) return;
  std::uint32_t expected = id;
  slots_.load(kRelaxed)[fd].compare_exchange_strong(expected, 0);
}

void Descriptors::Reconcile(std::uint32_t id) {
  ConnectionRecord* record = registry_->connections.Open(id);
  if (!watching() || record == nullptr || !record->implicit.load(kRelaxed)) return;
  std::int32_t fd = record->fd.load(kRelaxed);
  const std::uint64_t cookie = record->cookie.load(kRelaxed);
  if (SocketCookie(fd) == cookie || !registry_->connections.Ref(id)) return;
  const int another = Another(id, cookie);
  if (another >= 0) {
    record->fd.compare_exchange_strong(fd, another);
  } else {
    registry_->EndConnection(id);
    const int used = used_.load(kRelaxed);
    for (int at = 0; at < used; ++at) Close(at, id);
  }
  registry_->connections.Unref(id);
}

void Descriptors::BeginAnewInChild() {
  if (!watching()) return;
  const int kept = errno;
  madvise(slots_.load(kRelaxed), kBytes, MADV_DONTNEED);  // zeroes
  errno = kept;
  used_.store(0, kRelaxed);
  owner_.store(getpid(), kRelaxed);
}

}  // namespace heldby::core
