// What a scrape of /metrics costs, beside a registry of prometheus-cpp's with as many series.
//
//   metrics scrape SCRAPES PAUSE_MS TASKS CONNECTIONS
//       "<median ms> <largest ms> <first ms> of our processor time, <median ms> of theirs,
//        <seconds> that the oldest count was old"
//   metrics flat SCRAPES
//       "<bytes> of resident memory that came between the first tenth and the end"
#include <heldby/heldby.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

double CpuMs() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

std::string Scrape() {
  const heldby::Response response = heldby::Handle({.target = "/metrics"});
  if (response.status != 200) std::abort();
  return response.body;
}

template <typename Work>
double CostMs(const Work& work) {
  const double before = CpuMs();
  if (work().empty()) std::abort();
  return CpuMs() - before;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double ValueOf(const std::string& page, const std::string& name) {
  const auto at = page.find("\n" + name + " ");
  return at == page.npos ? 0 : std::atof(page.c_str() + at + name.size() + 2);
}

// As many descriptors as may be; the rest of the connections share them.
std::vector<int> Sockets(long count) {
  std::vector<int> fds;
  for (long i = 0; i < count; i += 2) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) break;
    fds.insert(fds.end(), {pair[0], pair[1]});
  }
  if (fds.empty()) std::abort();
  return fds;
}

int MeasureScrapes(long scrapes, long pause_ms, long tasks, long connections) {
  std::vector<heldby::AsyncTask> made;
  for (long i = 0; i < tasks; ++i) made.emplace_back(i % 2 == 0 ? "read loop" : "write loop");
  const std::vector<int> fds = Sockets(connections);
  std::vector<heldby::Connection> opened;
  for (long i = 0; i < connections; ++i) {
    opened.emplace_back(fds[static_cast<std::size_t>(i) % fds.size()],
                        heldby::Direction::kInbound);
  }
  auto registry = std::make_shared<prometheus::Registry>();
  auto& family = prometheus::BuildGauge().Name("g").Help("Gauges.").Register(*registry);
  std::string page = Scrape();
  for (long i = std::count(page.begin(), page.end(), '\n') / 2; i > 0; --i) {
    family.Add({{"direction", "inbound"}, {"state", std::to_string(i)}})
        .Set(static_cast<double>(i));
  }
  const double first_ms = CostMs(Scrape);
  std::vector<double> ours;
  std::vector<double> theirs;
  double oldest_s = 0;
  for (long i = 0; i < scrapes; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    ours.push_back(CostMs([&page] { return page = Scrape(); }));
    theirs.push_back(CostMs(
        [&registry] { return prometheus::TextSerializer().Serialize(registry->Collect()); }));
    oldest_s = std::max(oldest_s, ValueOf(page, "heldby_census_age_seconds"));
  }
  std::printf("%.3f %.3f %.3f %.3f %.1f\n", Median(ours),
              *std::max_element(ours.begin(), ours.end()), first_ms, Median(theirs), oldest_s);
  return 0;
}

long ResidentBytes() {
  long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%*s %ld", &pages) != 1) std::abort();
  std::fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

int MeasureMemory(long scrapes) {
  for (long i = 0; i < scrapes / 10; ++i) (void)Scrape();
  const long before = ResidentBytes();
  for (long i = scrapes / 10; i < scrapes; ++i) (void)Scrape();
  std::printf("%ld\n", ResidentBytes() - before);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const auto number = [&](int i) { return std::atol(argv[i]); };
  if (argc == 6 && std::strcmp(argv[1], "scrape") == 0) {
    return MeasureScrapes(number(2), number(3), number(4), number(5));
  }
  if (argc == 3 && std::strcmp(argv[1], "flat") == 0) return MeasureMemory(number(2));
  std::fputs("metrics scrape SCRAPES PAUSE_MS TASKS CONNECTIONS | metrics flat SCRAPES\n",
             stderr);
  return 2;
}
