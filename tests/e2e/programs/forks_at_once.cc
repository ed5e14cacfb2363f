// A daemon in its first millisecond: forks before anything else has happened, and the child
// loads a library. Built without heldby.
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main() {
  pid_t child = fork();
  if (child == 0) {
    void* library = dlopen("libz.so.1", RTLD_NOW);
    _exit(library != nullptr ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  printf("%d\n", status);
  return status;
}
