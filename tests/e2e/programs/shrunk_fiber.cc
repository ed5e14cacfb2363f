// A fiber on a large stack, whose upper half is then unmapped, and another fiber in the lower
// half, running code without unwind rows that keeps data in rbp: an address in the hole.
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>

extern "C" void AllocateWithDataInRbp(void* data);
asm(R"(
  .text
  .type AllocateWithDataInRbp, @function
AllocateWithDataInRbp:
  push %rbp
  mov %rdi, %rbp
  sub $16, %rsp
  mov $100, %edi
  call malloc@PLT
  add $16, %rsp
  pop %rbp
  ret
  .size AllocateWithDataInRbp, . - AllocateWithDataInRbp
)");

namespace {

constexpr std::size_t kSize = 0x40000;
ucontext_t main_context;
ucontext_t fiber_context;
char* stack;
void* volatile held;

__attribute__((noinline)) void Deep(int depth) {
  volatile char ballast[8000];
  ballast[0] = 1;
  if (depth > 0) {
    Deep(depth - 1);
  } else {
    held = std::malloc(100);
  }
  ballast[1] = 2;
}

void First() {
  Deep(20);
  swapcontext(&fiber_context, &main_context);
}
void Second() {
  AllocateWithDataInRbp(stack + kSize / 4 * 3);
  swapcontext(&fiber_context, &main_context);
}

void Run(std::size_t size, void (*function)()) {
  getcontext(&fiber_context);
  fiber_context.uc_stack.ss_sp = stack;
  fiber_context.uc_stack.ss_size = size;
  fiber_context.uc_link = &main_context;
  makecontext(&fiber_context, function, 0);
  swapcontext(&main_context, &fiber_context);
}

}  // namespace

int main() {
  stack = static_cast<char*>(
      mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  Run(kSize, &First);
  munmap(stack + kSize / 2, kSize / 2);
  Run(kSize / 2, &Second);
  std::puts("done");
}
