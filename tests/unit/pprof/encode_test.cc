#include <gtest/gtest.h>

#include <string>

#include "exporters/pprof/gzip.h"
#include "heldby/profile.h"
#include "tests/unit/pprof/real_reader.h"
#include "tests/unit/pprof/sample_profile.h"

namespace heldby {
namespace {

TEST(EncodePprof, GooglePprofFindsItValidAndReadsEveryValueBack) {
  const ScratchDir dir;
  const Result<std::string> bytes = EncodePprof(MakeHeapProfile());
  ASSERT_TRUE(bytes.ok()) << bytes.status().message();

  const std::string dump = CheckValid(dir.Write("heap.pb.gz", *bytes));

  EXPECT_EQ(dump,
            "type alloc_objects/count\ntype alloc_space/bytes\n"
            "type inuse_objects/count\ntype inuse_space/bytes\n"
            "period 524288 space/bytes\n"
            "sample [0 0 -3 -300] \n"
            "  0x3000@/srv/bin/app:0x1000-0x9000+0x1000|main /srv/app.cc:5\n"
            "sample [1 1048576 0 0] age=[0]seconds bytes=[1048576]bytes\n"
            "  0x2000@/srv/bin/app:0x1000-0x9000+0x1000|app::Inlined() :7|app::Load(int) "
            "/srv/l.cc:12\n"
            "  0x3000@/srv/bin/app:0x1000-0x9000+0x1000|main /srv/app.cc:5\n"
            "sample [10 1000 4 400] bytes=[100]bytes route=[\"/download\"]\n"
            "  0x7f1234@/usr/lib/libz.so.1:0x7f0000-0x7f9000+0x0\n"
            "  0x2000@/srv/bin/app:0x1000-0x9000+0x1000|app::Inlined() :7|app::Load(int) "
            "/srv/l.cc:12\n"
            "  0x3000@/srv/bin/app:0x1000-0x9000+0x1000|main /srv/app.cc:5\n");
}

TEST(EncodePprof, GoToolPprofShowsTimeLabelsAndMappingFlags) {
  const ScratchDir dir;
  const std::string file = dir.Write("heap.pb.gz", *EncodePprof(MakeHeapProfile()));

  const std::string raw = GoToolPprof("-raw", file);

  EXPECT_NE(raw.find("Time: 2023-11-14 22:13:20"), std::string::npos) << raw;
  EXPECT_NE(raw.find("route:[/download]"), std::string::npos) << raw;
  EXPECT_NE(raw.find("age:[0 seconds]"), std::string::npos) << raw;
  EXPECT_NE(raw.find("1: 0x1000/0x9000/0x1000 /srv/bin/app ab12 [FN][FL][LN][IN]"),
            std::string::npos)
      << raw;
}

TEST(EncodePprof, ProfileWithoutSamplesIsValidForGooglePprof) {
  const ScratchDir dir;
  Profile profile = MakeHeapProfile();
  profile.samples.clear();
  CheckValid(dir.Write("empty.pb.gz", *EncodePprof(profile)));
}

TEST(EncodePprof, RefusesABrokenProfileWithTheRuleAndThePlace) {
  Profile profile = MakeHeapProfile();
  profile.samples[1].values.pop_back();
  const Result<std::string> bytes = EncodePprof(profile);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(bytes.status().message(), "sample 1: 3 values for 4 sample types");
}

TEST(Gzip, WhatGoesInComesOut) {
  for (const std::string& text : {std::string(), std::string("a"), std::string(1 << 20, 'x')}) {
    const Result<std::string> packed = Gzip(text);
    ASSERT_TRUE(packed.ok());
    const Result<std::string> unpacked = Gunzip(*packed, text.size());
    ASSERT_TRUE(unpacked.ok()) << unpacked.status().message();
    EXPECT_EQ(*unpacked, text);
  }
}

TEST(Gzip, MembersFollowOneAnother) {
  const Result<std::string> unpacked = Gunzip(*Gzip("one") + *Gzip("two"), 100);
  ASSERT_TRUE(unpacked.ok()) << unpacked.status().message();
  EXPECT_EQ(*unpacked, "onetwo");
}

TEST(Gzip, ABombIsRefusedAtTheBoundAndNotUnpackedFirst) {
  const Result<std::string> unpacked = Gunzip(*Gzip(std::string(16 << 20, '\0')), 1 << 20);
  ASSERT_FALSE(unpacked.ok());
  EXPECT_EQ(unpacked.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(unpacked.status().message(), "gzip data unpacks to more than 1048576 bytes");
}

TEST(Gzip, EveryTruncationIsDataLoss) {
  const std::string packed = *Gzip("some text, some text, some more text");
  for (std::size_t size = 2; size < packed.size(); ++size) {
    const Result<std::string> unpacked = Gunzip(packed.substr(0, size), 1000);
    ASSERT_FALSE(unpacked.ok()) << size;
    EXPECT_EQ(unpacked.status().code(), StatusCode::kDataLoss) << size;
  }
}

}  // namespace
}  // namespace heldby
