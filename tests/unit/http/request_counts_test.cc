// heldby_http_requests_total: what a client chooses is never a label.
#include "exporters/http/request_counts.h"

#include <gtest/gtest.h>

#include <string>

#include "exporters/http/router.h"
#include "tests/unit/http/sample_profiles.h"

namespace heldby::http {
namespace {

TEST(RequestCounts, PathsThatAreNoneAreOtherWhateverTheMethod) {
  const Router router(SampleProfiles(), SampleSymbolNames);
  for (const char* method : {"GET", "POST", "DELETE"}) {
    for (const char* target : {"/debug/pprof/made-up-1", "/debug/pprof/made-up-2/%00%ff",
                               "/made-up-3", "/debug/pprof/delta_made-up-4", "made-up-5"}) {
      Request request;
      request.method = method;
      request.target = target;
      EXPECT_GE(router.Route(request).status, 400) << method << " " << target;
    }
  }
  for (const MetricSample& sample : ProcessRequestCounts().Family().samples) {
    EXPECT_EQ(sample.labels[0].second.find("made-up"), std::string::npos)
        << sample.labels[0].second;
  }
}

}  // namespace
}  // namespace heldby::http
