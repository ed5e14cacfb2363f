// Tests of somebody's cache, with GoogleTest's own main(): the second fails.
#include <heldby/labels.h>
#include <heldby/task.h>
#include <heldby/testing.h>

#include <memory>
#include <optional>
#include <vector>

[[maybe_unused]] static const bool installed =
    heldby::testing::FailOnLeftovers({.sample_bytes = 1});

class Cache {
 public:
  static Cache& Shared() {
    static Cache cache;
    return cache;
  }

  void Load(std::size_t bytes) {
    const heldby::ScopedLabels labels({{"route", "/download"}});
    blocks_.push_back(std::make_unique<char[]>(bytes));
    flusher_.emplace("flusher");
    flusher_->SetState("waiting for work");
  }
  void Clear() {
    std::vector<std::unique_ptr<char[]>>().swap(blocks_);
    flusher_.reset();
  }

 private:
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::optional<heldby::AsyncTask> flusher_;
};

TEST(CacheTest, Clears) {
  Cache::Shared().Load(30'000);
  Cache::Shared().Clear();
}

TEST(CacheTest, Loads) { Cache::Shared().Load(30'000); }
