// A service with metrics of its own, by prometheus-cpp, that knows nothing of heldby.
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/registry.h>

#include <cstdio>
#include <memory>

int main() {
  prometheus::Exposer exposer("127.0.0.1:0");
  auto registry = std::make_shared<prometheus::Registry>();
  auto& requests = prometheus::BuildCounter()
                       .Name("service_requests_total")
                       .Help("Requests.")
                       .Register(*registry)
                       .Add({{"route", "/a"}});
  requests.Increment(3);
  exposer.RegisterCollectable(registry);
  std::printf("exposes http://127.0.0.1:%d/metrics\n", exposer.GetListeningPorts().at(0));
  std::fflush(stdout);
  (void)std::getchar();
}
