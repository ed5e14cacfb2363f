// A host that works with the libraries that a profiler might bring along: Debian's own zlib,
// protobuf, Abseil, libunwind, elfutils and prometheus-cpp, its web server included. Threads
// use each of them all the time, and look whether the results stay what they were the first
// time. Built without heldby. Works until its standard input ends, prints what it found, exits
// with 9.
#define UNW_LOCAL_ONLY
#include <absl/container/flat_hash_map.h>
#include <absl/strings/str_cat.h>
#include <absl/synchronization/mutex.h>
#include <elfutils/libdwfl.h>
#include <google/protobuf/struct.pb.h>
#include <libunwind.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string Zlib() {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919);
  uLongf packed_bytes = compressBound(text.size());
  std::vector<Bytef> packed(packed_bytes);
  compress(packed.data(), &packed_bytes, reinterpret_cast<const Bytef*>(text.data()),
           text.size());
  std::string again(text.size(), '\0');
  uLongf again_bytes = again.size();
  uncompress(reinterpret_cast<Bytef*>(again.data()), &again_bytes, packed.data(), packed_bytes);
  return absl::StrCat(packed_bytes, again == text ? " same" : " other");
}

std::string Protobuf() {
  google::protobuf::Struct message;
  for (int i = 0; i < 200; ++i) {
    (*message.mutable_fields())["field"].mutable_list_value()->add_values()->set_number_value(
        i);
  }
  const std::string bytes = message.SerializeAsString();
  google::protobuf::Struct again;
  const bool parsed = again.ParseFromString(bytes);
  return absl::StrCat(bytes.size(), parsed ? " parsed " : " lost ", again.GetTypeName(), " ",
                      again.ShortDebugString().size());
}

std::string Abseil() {
  static absl::Mutex mutex;
  absl::flat_hash_map<std::string, int> map;
  for (int i = 0; i < 3000; ++i) map[absl::StrCat("key ", i % 700)] += i;
  const absl::MutexLock lock(&mutex);
  return absl::StrCat(map.size(), " ", map["key 33"]);
}

__attribute__((noinline)) std::string Unwind() {
  unw_context_t context;
  unw_cursor_t cursor;
  unw_getcontext(&context);
  unw_init_local(&cursor, &context);
  std::string names;
  for (int depth = 0; depth < 2 && unw_step(&cursor) > 0; ++depth) {
    char name[256];
    unw_word_t offset;
    if (unw_get_proc_name(&cursor, name, sizeof(name), &offset) == 0) names += name;
  }
  return names.empty() ? "lost" : "seen";
}

std::string Exceptions() {
  int caught = 0;
  for (int i = 0; i < 50; ++i) {
    try {
      throw std::runtime_error(std::string(100, 'x'));
    } catch (const std::exception& error) {
      caught += std::string(error.what()).size() == 100;
    }
  }
  return std::to_string(caught);
}

std::string Elfutils() {
  const Dwfl_Callbacks callbacks = {.find_elf = dwfl_linux_proc_find_elf,
                                    .find_debuginfo = dwfl_standard_find_debuginfo,
                                    .section_address = nullptr,
                                    .debuginfo_path = nullptr};
  Dwfl* dwfl = dwfl_begin(&callbacks);
  dwfl_linux_proc_report(dwfl, getpid());
  dwfl_report_end(dwfl, nullptr, nullptr);
  const auto at = reinterpret_cast<Dwarf_Addr>(&Elfutils);
  Dwfl_Module* module = dwfl_addrmodule(dwfl, at);
  const char* name = module != nullptr ? dwfl_module_addrname(module, at) : nullptr;
  const std::string found = name != nullptr ? name : "lost";
  dwfl_end(dwfl);
  return found;
}

std::string Prometheus() {
  prometheus::Registry registry;
  auto& family = prometheus::BuildCounter().Name("turns_total").Register(registry);
  for (int i = 0; i < 20; ++i) family.Add({{"label", std::to_string(i)}}).Increment(i);
  return std::to_string(prometheus::TextSerializer().Serialize(registry.Collect()).size());
}

struct Job {
  const char* name;
  std::string (*work)();
};
constexpr Job kJobs[] = {{"zlib", &Zlib},
                         {"protobuf", &Protobuf},
                         {"Abseil", &Abseil},
                         {"libunwind", &Unwind},
                         {"exceptions", &Exceptions},
                         {"elfutils", &Elfutils},
                         {"prometheus-cpp", &Prometheus}};

}  // namespace

int main() {
  std::atomic<bool> end{false};
  std::atomic<int> wrong{0};
  prometheus::Exposer exposer("127.0.0.1:0", 1);
  auto registry = std::make_shared<prometheus::Registry>();
  exposer.RegisterCollectable(registry);
  std::vector<std::thread> threads;
  std::string first[std::size(kJobs)];
  for (std::size_t i = 0; i < std::size(kJobs); ++i) {
    first[i] = kJobs[i].work();
    std::printf("%s: %s\n", kJobs[i].name, first[i].c_str());
    threads.emplace_back([&, i] {
      while (!end) {
        wrong += kJobs[i].work() != first[i];
        usleep(1000);
      }
    });
  }
  std::printf("port: %s\n", exposer.GetListeningPorts().at(0) != 0 ? "given" : "none");
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  end = true;
  for (std::thread& thread : threads) thread.join();
  std::printf("wrong: %d\n", wrong.load());
  std::fflush(stdout);
  return 9;
}
