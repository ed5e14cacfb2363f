// What the symbolizer is tried on: each call below tells where it was made from.

using Recorder = void (*)(const char* what, const void* return_address);

namespace {

Recorder recorder = nullptr;

[[gnu::noinline]] void Note(const char* what) {
  recorder(what, __builtin_return_address(0));
  asm volatile("");  // no tail call
}

[[gnu::always_inline]] inline void Innermost() {
  Note("inlined");
  asm volatile("");
}
[[gnu::always_inline]] inline void Middle() { Innermost(); }
[[gnu::noinline]] void Outermost() {
  Middle();
  asm volatile("");
}

struct Widget {
  template <typename T>
  [[gnu::noinline]] void Put(T) {
    Note("template");
    asm volatile("");
  }
  [[gnu::noinline]] bool operator<(int) const {
    Note("operator");
    asm volatile("");
    return false;
  }
};

}  // namespace

// Assembly with neither type nor size: it reaches to the next symbol.
asm(".text\n"
    "AssemblyWithoutSize:\n"
    "  nop\n  nop\n  nop\n  nop\n  ret\n"
    ".globl AfterAssembly\n"
    ".type AfterAssembly, @function\n"
    "AfterAssembly:\n  ret\n"
    ".size AfterAssembly, .-AfterAssembly\n");

extern "C" [[gnu::visibility("default")]] void Visit(Recorder use) {
  recorder = use;
  Outermost();
  Widget widget;
  widget.Put<long>(1);
  static_cast<void>(widget < 1);
  const auto lambda = [](int) __attribute__((noinline)) {
    Note("lambda");
    asm volatile("");
  };
  lambda(1);
  Note("exported");
  const char* code = nullptr;
  asm("lea AssemblyWithoutSize(%%rip), %0" : "=r"(code));
  use("assembly", code + 3);
}
