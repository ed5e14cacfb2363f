// To be preloaded behind heldby: every fork is under way until libheldby-server.so is being
// loaded, or for 0.4 seconds.
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

namespace {

bool IsServerMapped() {
  static char maps[1 << 16];  // more than this program has
  const int fd = open("/proc/self/maps", O_RDONLY);
  size_t used = 0;
  for (ssize_t got;
       used + 1 < sizeof(maps) && (got = read(fd, maps + used, sizeof(maps) - 1 - used)) > 0;) {
    used += static_cast<size_t>(got);
  }
  close(fd);
  maps[used] = '\0';
  return strstr(maps, "libheldby-server") != nullptr;
}

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void BeforeFork() {
  for (const double until = Now() + 0.4; Now() < until && !IsServerMapped();) usleep(200);
}

__attribute__((constructor)) void Begin() { pthread_atfork(&BeforeFork, nullptr, nullptr); }

}  // namespace
