// Whether a thread of this process sleeps for a lock: nothing else says so from outside.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

inline bool SleepsInFutex(int tid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  int number = -1;
  const bool read = std::fscanf(file, "%d", &number) == 1;
  std::fclose(file);
  return read && number == SYS_futex;
}

inline int OwnTid() { return static_cast<int>(syscall(SYS_gettid)); }

// Of a thread that is about to: it writes its number down right before.
inline void UntilAsleep(const std::atomic<int>& tid) {
  while (tid == 0 || !SleepsInFutex(tid)) std::this_thread::yield();
}
