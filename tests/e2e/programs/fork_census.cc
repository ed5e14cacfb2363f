// What a host can see of itself: threads, open files beyond stdio, children of waitpid(-1).
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

static int Entries(const char* folder) {
  DIR* open_folder = opendir(folder);
  int count = 0;
  while (readdir(open_folder) != nullptr) ++count;
  closedir(open_folder);
  return count - 2;
}

int main(int argc, char** argv) {
  if (argc > 1) usleep(static_cast<useconds_t>(std::atoi(argv[1])) * 1000);
  for (int i = 0; i < 100; ++i) std::free(std::malloc(100000));
  const bool no_child = waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
  // The folder being read is itself an open file.
  std::printf("threads=%d files=%d children=%s\n", Entries("/proc/self/task"),
              Entries("/proc/self/fd") - 1, no_child ? "none" : "some");
  return 7;
}
