#include "exporters/http/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "exporters/http/fork_fds.h"
#include "exporters/http/reply.h"
#include "exporters/http/request_counts.h"
#include "exporters/http/session.h"
#include "exporters/http/workers.h"

namespace heldby::http {
namespace {

namespace asio = boost::asio;
using boost::beast::error_code;
using std::chrono::steady_clock;

// Fewer than there are connections: each is looked at before the ones that push it out.
constexpr int kAcceptsAtOnce = 8;

// Until what lacked memory is tried again.
constexpr std::chrono::milliseconds kMemoryPause(10);

Channel DescribeChannel(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  Channel channel;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return channel;
  channel.is_unix = storage.ss_family == AF_UNIX;
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&storage)->sin_addr, text,
                sizeof(text));
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<sockaddr_in6*>(&storage)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&v6)) {
      ::inet_ntop(AF_INET, &v6.s6_addr[12], text, sizeof(text));
    } else {
      ::inet_ntop(AF_INET6, &v6, text, sizeof(text));
    }
  }
  channel.local_address = text;
  return channel;
}

int FamilyOf(int fd) {
  int family = AF_UNSPEC;
  socklen_t length = sizeof(family);
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length);
  return family;
}

// Where there is no room above, it stays.
int MovedUp(int fd) {
  if (fd >= kFirstFd) return fd;
  const int above = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstFd);
  if (above < 0) return fd;
  ::close(fd);
  return above;
}

}  // namespace

class Server::Core : public SessionHost, public std::enable_shared_from_this<Server::Core> {
 public:
  Core(Listener listener, AccessPolicy access, Router router, const Limits& limits)
      : limits_(limits),
        access_(std::move(access)),
        router_(std::move(router)),
        work_(io_.get_executor()),
        listener_(std::move(listener)),
        listening_fd_(listener_.fd()),
        acceptor_(io_),
        ticker_(io_),
        workers_(limits.requests_at_work) {}

  ~Core() {
    if (acceptor_.is_open()) acceptor_.release();  // listener_ closes it
  }

  const Limits& limits() const override { return limits_; }
  const AccessPolicy& access() const override { return access_; }
  const Router& router() const override { return router_; }
  bool RunOnWorker(bool waits, std::function<void()> work,
                   std::function<void()> done) override {
    if (waits && waits_at_work_ >= limits_.waits_at_work) return false;
    auto keep = shared_from_this();
    const bool started = workers_.TryRun([keep, work = std::move(work)] { work(); },
                                         [keep, waits, done = std::move(done)] {
                                           if (waits) --keep->waits_at_work_;
                                           keep->OnIoThread(done);
                                         });
    if (started && waits) ++waits_at_work_;
    return started;
  }

  void Run() {
    while (!io_.stopped()) {
      try {
        GoOn();
        io_.run();
      } catch (const std::exception&) {
        // Out of memory in one callback: its connection is lost, the others go on.
        std::this_thread::sleep_for(kMemoryPause);
      }
    }
  }

  /// On the IO thread.
  void Shutdown() {
    is_shut_down_ = true;
    acceptor_.release();
    listener_.Close();
    for (const auto& session : sessions_) session->Close();
    sessions_.clear();
    ticker_.cancel();
    io_.stop();
  }

  /// False: the host has closed what it did not know (as daemons do). The numbers behind the
  /// event loop may be the host's by now, so it must not be woken, closed or waited for.
  bool HasDescriptors() const { return IsStillOurs(listening_fd_); }

  asio::io_context& io() { return io_; }
  Workers& workers() { return workers_; }

  void TellThatRunHasEnded() {
    const std::lock_guard lock(end_mutex_);
    run_has_ended_ = true;
    end_.notify_all();
  }
  bool RunEndsUntil(steady_clock::time_point deadline) {
    std::unique_lock lock(end_mutex_);
    return end_.wait_until(lock, deadline, [this] { return run_has_ended_; });
  }

 private:
  // A session waits for its answer and for nothing else: it must come, with memory or later.
  void OnIoThread(const std::function<void()>& function) {
    while (HasDescriptors()) {
      try {
        return asio::post(io_, function);
      } catch (const std::bad_alloc&) {
        std::this_thread::sleep_for(kMemoryPause);
      }
    }
  }

  // At first, and with what a callback that threw has not come to.
  void GoOn() {
    if (is_shut_down_ || !HasDescriptors()) return;
    if (!acceptor_.is_open()) acceptor_.assign(listener_.fd());
    if (!awaits_connection_ && !accept_paused_) AwaitConnection();
    if (ticking_ && !awaits_tick_) Tick();
  }

  void AwaitConnection() {
    acceptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](error_code error) {
      awaits_connection_ = false;
      if (!error) Accept();
    });
    awaits_connection_ = true;
  }

  void Accept() {
    if (!HasDescriptors()) return;
    // Some at a time: those who connect without end must not keep us from those who have.
    for (int taken = 0; taken < kAcceptsAtOnce; ++taken) {
      const int fd = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        Adopt(MovedUp(fd));
      } else if (errno == EAGAIN) {
        return AwaitConnection();
      } else if (errno != EINTR && errno != ECONNABORTED) {
        // Out of descriptors: the queue stays readable, so waiting for it would spin.
        accept_paused_ = true;
        return StartTicking();
      }
    }
    AwaitConnection();
  }

  void Adopt(int fd) {
    DropClosed();
    // Those who are turned away stay for the second that their answer needs to reach them.
    if (sessions_.size() >= 2 * limits_.connections) {
      ::close(fd);
      ProcessRequestCounts().AddDroppedConnection();
      return;
    }
    const auto served = std::ranges::count(
        sessions_, false, [](const auto& session) { return session->is_turned_away(); });
    const bool has_room = static_cast<std::size_t>(served) < limits_.connections || Evict();
    const auto session = Open(fd);
    StartTicking();
    if (has_room) return session->Start();
    Response busy = ErrorReply(503, "too many connections");
    busy.headers.emplace_back("Retry-After", "1");
    session->TurnAway(std::move(busy));
  }

  std::shared_ptr<Session> Open(int fd) {
    CloseInForkedChild(fd);
    std::optional<Session::Socket> socket;
    try {
      socket.emplace(io_, asio::generic::stream_protocol(FamilyOf(fd), 0), fd);
      return sessions_.emplace_back(
          std::make_shared<Session>(*this, *std::move(socket), DescribeChannel(fd)));
    } catch (...) {
      ForgetForkFd(fd);
      if (!socket) ::close(fd);
      throw;
    }
  }

  bool Evict() {
    const auto now = steady_clock::now();
    constexpr std::pair kNever(std::numeric_limits<int>::max(), Session::TimePoint::max());
    const auto least = std::ranges::min_element(sessions_, {}, [&](const auto& session) {
      return session->Expendable(now).value_or(kNever);
    });
    if (least == sessions_.end() || !(*least)->Expendable(now)) return false;
    (*least)->Close();
    ProcessRequestCounts().AddDroppedConnection();
    DropClosed();
    return true;
  }

  void DropClosed() {
    std::erase_if(sessions_, [](const auto& session) { return session->is_closed(); });
  }

  // One timer for all deadlines, and none while nobody is connected: an idle endpoint never
  // wakes the CPU.
  void StartTicking() {
    if (std::exchange(ticking_, true)) return;
    Tick();
  }

  void Tick() {
    ticker_.expires_after(std::chrono::milliseconds(100));
    ticker_.async_wait([this](error_code error) {
      awaits_tick_ = false;
      if (error) return;
      const auto now = steady_clock::now();
      for (const auto& session : sessions_) session->Tick(now);
      DropClosed();
      if (std::exchange(accept_paused_, false)) Accept();
      if (sessions_.empty() && !accept_paused_) {
        ticking_ = false;
      } else {
        Tick();
      }
    });
    awaits_tick_ = true;
  }

  const Limits limits_;
  const AccessPolicy access_;
  const Router router_;
  asio::io_context io_{1};  // before everything that it may hold in its queue
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  Listener listener_;
  const int listening_fd_;  // a worker asks for it while Shutdown() closes the listener
  asio::posix::stream_descriptor acceptor_;
  asio::steady_timer ticker_;
  std::vector<std::shared_ptr<Session>> sessions_;
  bool is_shut_down_ = false;
  bool awaits_connection_ = false;
  bool ticking_ = false;
  bool awaits_tick_ = false;
  bool accept_paused_ = false;
  std::atomic<int> waits_at_work_{0};
  // Instead of pthread_clockjoin_np(): to g++ 12's ThreadSanitizer what it has joined is a
  // leak.
  std::mutex end_mutex_;
  std::condition_variable end_;
  bool run_has_ended_ = false;
  Workers workers_;
};

Result<std::unique_ptr<Server>> Server::Start(Listener listener, AccessPolicy access,
                                              Router router, const Limits& limits) {
  std::unique_ptr<Server> server(new Server);
  server->core_ =
      std::make_shared<Core>(std::move(listener), std::move(access), std::move(router), limits);
  auto thread = StartThread("heldby-http", [core = server->core_] {
    core->Run();
    core->TellThatRunHasEnded();
  });
  if (!thread) {
    server->core_.reset();
    return thread.status();
  }
  server->io_thread_ = *thread;
  server->owner_pid_ = ::getpid();
  return server;
}

Server::~Server() { Stop(); }

void Server::Stop() {
  if (!core_) return;
  if (owner_pid_ != ::getpid() || !core_->HasDescriptors()) {
    // A forked child: destroying the core could wait for a lock whose holder was not copied. Or
    // a host that closed our descriptors: the loop sleeps for good, and is left to.
    new std::shared_ptr<Core>(std::move(core_));
    return;
  }
  const auto deadline = steady_clock::now() + core_->limits().stop_timeout;
  asio::post(core_->io(), [core = core_] { core->Shutdown(); });
  if (!core_->RunEndsUntil(deadline)) {
    // The host has put files of its own where its wake-up calls went: it sleeps for good, too.
    new std::shared_ptr<Core>(std::move(core_));
    return;
  }
  ::pthread_join(io_thread_, nullptr);
  core_->workers().JoinUntil(deadline);
  core_.reset();
}

}  // namespace heldby::http
