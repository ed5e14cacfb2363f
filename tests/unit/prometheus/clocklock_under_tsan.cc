// g++ 12's ThreadSanitizer does not know pthread_mutex_clocklock, by which std::timed_mutex
// waits, and takes the unlock after it for a mistake. What it does know, in its place.
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

extern "C" int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                       const timespec* until) noexcept {
  for (;;) {
    const int status = pthread_mutex_trylock(mutex);
    if (status != EBUSY) return status;
    timespec now;
    clock_gettime(clock, &now);
    if (now.tv_sec > until->tv_sec ||
        (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec)) {
      return ETIMEDOUT;
    }
    usleep(1000);
  }
}
