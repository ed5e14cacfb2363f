// A host that has its own copies, or its own functions by the names, of what a profiler might
// use: compression, protobuf, Abseil, unwinding, DWARF, HTTP. All of them are visible to
// libraries (-rdynamic), and none is to be called by one. Built without heldby. Serves until
// its standard input ends, then prints "done" and exits with 9.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#define OURS_ALONE(name)                                                  \
  extern "C" __attribute__((visibility("default"))) void name() {         \
    constexpr char kWhat[] = "the host's " #name "() was called\n";       \
    if (write(STDERR_FILENO, kWhat, sizeof(kWhat) - 1) < 0) std::abort(); \
    std::abort();                                                         \
  }

// zlib: crc32 is also what half of all programs call their own.
OURS_ALONE(crc32)
OURS_ALONE(crc32_z)
OURS_ALONE(adler32)
OURS_ALONE(adler32_z)
OURS_ALONE(compress2)
OURS_ALONE(uncompress)
OURS_ALONE(deflate)
OURS_ALONE(deflateInit_)
OURS_ALONE(deflateInit2_)
OURS_ALONE(deflateEnd)
OURS_ALONE(deflateBound)
OURS_ALONE(deflateReset)
OURS_ALONE(inflate)
OURS_ALONE(inflateInit_)
OURS_ALONE(inflateInit2_)
OURS_ALONE(inflateEnd)
OURS_ALONE(inflateReset)
OURS_ALONE(zlibVersion)
OURS_ALONE(zcalloc)
OURS_ALONE(zcfree)
// libunwind and libgcc's other clients
OURS_ALONE(unw_getcontext)
OURS_ALONE(unw_init_local)
OURS_ALONE(unw_step)
OURS_ALONE(_Ux86_64_getcontext)
OURS_ALONE(_ULx86_64_init_local)
OURS_ALONE(_ULx86_64_step)
OURS_ALONE(unw_backtrace)
OURS_ALONE(backtrace_full)
OURS_ALONE(backtrace_create_state)
// elfutils
OURS_ALONE(dwfl_begin)
OURS_ALONE(dwfl_linux_proc_report)
OURS_ALONE(dwfl_module_addrinfo)
OURS_ALONE(dwarf_begin)
OURS_ALONE(elf_begin)
OURS_ALONE(elf_version)
// civetweb, and what programs call their own entry points and helpers
OURS_ALONE(mg_start)
OURS_ALONE(mg_stop)
OURS_ALONE(listen_on)
OURS_ALONE(serve)
OURS_ALONE(start)
OURS_ALONE(start_server)
OURS_ALONE(symbolize)
OURS_ALONE(log_message)

#define THEIR_OWN(type, function)           \
  struct type {                             \
    static void function(const char* what); \
  };                                        \
  void type::function(const char*) { std::abort(); }

namespace absl {
inline namespace lts_20230125 {
std::string StrCat(const std::string&, const std::string&) { std::abort(); }
THEIR_OWN(Mutex, Lock)
namespace hash_internal {
THEIR_OWN(MixingHashState, kSeed)
}
}  // namespace lts_20230125
}  // namespace absl
namespace google::protobuf {
THEIR_OWN(Message, SerializeToString)
THEIR_OWN(DescriptorPool, generated_pool)
}  // namespace google::protobuf
namespace perftools::profiles {
THEIR_OWN(Profile, SerializeToString)
}
namespace protozero {
THEIR_OWN(pbf_writer, add_message)
}
namespace prometheus {
THEIR_OWN(Registry, Collect)
THEIR_OWN(TextSerializer, Serialize)
}  // namespace prometheus
namespace boost::asio {
THEIR_OWN(io_context, run)
}
// Sections of classes with the names of ours.
namespace heldby {
THEIR_OWN(SomethingElse, Handle)
}

int main() {
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  std::puts("done");
  return 9;
}
