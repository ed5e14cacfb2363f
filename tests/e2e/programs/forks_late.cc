// Forks a third of a second after its start; the child allocates and exits through exit(),
// with 7. Built without heldby.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main() {
  usleep(300'000);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // hung is not ended
    void* volatile block = malloc(100'000);
    free(block);
    exit(7);
  }
  int status = -1;
  waitpid(child, &status, 0);
  printf("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -status);
}
