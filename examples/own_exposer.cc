// A service with a server for its own metrics, by prometheus-cpp.
//
// Three lines put heldby's on that page (PrometheusCollector); one puts its own on heldby's
// (AttachCollectable). Runs until its standard input is closed.
#include <heldby/heldby.h>
#include <heldby/prometheus.h>
#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdio>
#include <memory>
#include <vector>

int main() {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter()
      .Name("service_requests_total")
      .Help("Requests,\nby route.")
      .Register(*registry)
      .Add({{"route", "/a\"b\\"}})
      .Increment(3);
  prometheus::BuildHistogram()
      .Name("service_request_seconds")
      .Help("How long they took.")
      .Register(*registry)
      .Add({}, prometheus::Histogram::BucketBoundaries{0.1, 1})
      .Observe(0.5);
  prometheus::Exposer exposer("127.0.0.1:0");
  exposer.RegisterCollectable(registry);

  auto metrics = std::make_shared<heldby::PrometheusCollector>();
  exposer.RegisterCollectable(metrics);

  auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  if (!server) {
    std::fprintf(stderr, "%s\n", server.status().message().c_str());
    return 1;
  }
  const heldby::AttachedMetrics attached = heldby::AttachCollectable(registry);
  std::printf("exposes http://127.0.0.1:%d/metrics\nserves %s\n",
              exposer.GetListeningPorts().at(0), server->address().c_str());
  std::fflush(stdout);
  const std::vector<char> held(64 << 20, 'x');
  (void)std::getchar();
  return held[12345] == 'x' ? 0 : 1;
}
