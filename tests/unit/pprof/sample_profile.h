// tests/unit/pprof/sample_profile.h - one profile with something of everything.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "heldby/profile.h"
#include "profile/builder.h"

namespace heldby {

inline Profile MakeHeapProfile() {
  ProfileBuilder builder({{"alloc_objects", "count"},
                          {"alloc_space", "bytes"},
                          {"inuse_objects", "count"},
                          {"inuse_space", "bytes"}});
  Profile& header = builder.header();
  header.time_ns = 1'700'000'000'000'000'000;
  header.period_type = {"space", "bytes"};
  header.period = 524288;
  header.drop_frames = "malloc|operator new";
  header.comments = {"made by hand"};
  header.doc_url = "https://example.org/heap";
  const MappingId app = builder.AddMapping(
      {0x1000, 0x9000, 0x1000, "/srv/bin/app", "ab12", true, true, true, true});
  const MappingId lib = builder.AddMapping(
      {0x7f0000, 0x7f9000, 0, "/usr/lib/libz.so.1", "", false, false, false, false});
  const FunctionId main_fn = builder.AddFunction({"main", "main", "/srv/app.cc", 3});
  const FunctionId load =
      builder.AddFunction({"app::Load(int)", "_ZN3app4LoadEi", "/srv/l.cc", 0});
  const FunctionId inlined = builder.AddFunction("app::Inlined()");
  const LocationId leaf = builder.AddLocation(lib, 0x7f1234);
  const LocationId middle = builder.AddLocation(app, 0x2000, {{inlined, 7}, {load, 12}});
  const LocationId root = builder.AddLocation(app, 0x3000, {{main_fn, 5}});
  builder.AddSample({leaf, middle, root}, std::vector<std::int64_t>{10, 1000, 4, 400},
                    {{"bytes", "", 100, "bytes"}, {"route", "/download", 0, ""}});
  builder.AddSample({middle, root}, std::vector<std::int64_t>{1, 1 << 20, 0, 0},
                    {{"bytes", "", 1 << 20, "bytes"}, {"age", "", 0, "seconds"}});
  builder.AddSample({root}, std::vector<std::int64_t>{0, 0, -3, -300});
  return std::move(builder).Build();
}

}  // namespace heldby
