// To be preloaded: after SIGUSR1, one in STARVE_ONE_IN requests for memory is refused to the
// threads of the endpoint, at random, and to nobody else; after SIGUSR2 none is.
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

extern "C" void* __libc_malloc(std::size_t bytes);

namespace {

volatile int one_in = 0;  // 0: never
thread_local unsigned random_bits = 0;

void Starve(int signal) {
  one_in = signal == SIGUSR1 ? std::atoi(std::getenv("STARVE_ONE_IN")) : 0;
}

bool IsOfTheEndpoint() {
  char name[16] = "";
  ::prctl(PR_GET_NAME, name);
  return std::strncmp(name, "heldby-", 7) == 0;
}

[[gnu::constructor]] void Begin() {
  std::signal(SIGUSR1, &Starve);
  std::signal(SIGUSR2, &Starve);
}

}  // namespace

extern "C" void* malloc(std::size_t bytes) {
  const int chance = one_in;
  if (chance != 0 && IsOfTheEndpoint()) {
    if (random_bits == 0) random_bits = static_cast<unsigned>(::gettid()) * 2654435761u;
    random_bits = random_bits * 1664525u + 1013904223u;
    if ((random_bits >> 8) % static_cast<unsigned>(chance) == 0) {
      errno = ENOMEM;
      return nullptr;
    }
  }
  return __libc_malloc(bytes);
}
