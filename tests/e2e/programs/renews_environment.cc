// Makes the list of its environment anew all the time, as a program of one thread may: setenv()
// and setproctitle() do. Built without heldby.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern char** environ;

int main() {
  // Long enough that who walks through it is met by the next one.
  constexpr int kMore = 5000;
  char name[32];
  for (int i = 0; i < kMore; ++i) {
    snprintf(name, sizeof(name), "LIKE_OTHERS_%d", i);
    setenv(name, "1", 1);
  }
  size_t count = 0;
  while (environ[count] != nullptr) ++count;
  char** last = nullptr;
  long changes = 0;
  for (const time_t until = time(nullptr) + 2; time(nullptr) < until; ++changes) {
    auto** list = static_cast<char**>(malloc((count + 1) * sizeof(char*)));
    memcpy(list, environ, (count + 1) * sizeof(char*));
    environ = list;
    if (last != nullptr) {
      for (size_t i = 0; i < count; ++i) last[i] = reinterpret_cast<char*>(16);
      asm volatile("" : : "r"(last) : "memory");
      free(last);
    }
    last = list;
  }
  puts(changes > 1000 ? "changed" : "did not");
}
