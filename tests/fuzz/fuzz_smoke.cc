// Runs a fuzz entry point over its corpus and over mutations of it. Same seed, same bytes: what
// fails here fails again.
//   fuzz_smoke_<name> MUTATIONS CORPUS...       files, or folders of files
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

// A copy is as long as its bytes, so that AddressSanitizer sees who reads behind them.
void Run(const Bytes& bytes) {
  const Bytes exact(bytes);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

// Sorted: a folder lists its files in any order.
std::vector<Bytes> ReadCorpus(int count, char** paths) {
  std::vector<std::filesystem::path> files;
  for (int i = 0; i < count; ++i) {
    if (!std::filesystem::is_directory(paths[i])) {
      files.emplace_back(paths[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(paths[i])) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

class Mutator {
 public:
  explicit Mutator(std::vector<Bytes> corpus) : corpus_(std::move(corpus)) {}

  Bytes Next() {
    Bytes bytes = Any();
    for (std::size_t i = 1 + Below(4); i > 0; --i) Mutate(&bytes);
    return bytes;
  }

 private:
  std::size_t Below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  const Bytes& Any() { return corpus_[Below(corpus_.size())]; }

  void Mutate(Bytes* bytes) {
    const std::size_t at = Below(bytes->size());
    const auto begin = [&] { return bytes->begin() + static_cast<std::ptrdiff_t>(at); };
    switch (Below(6)) {
      case 0:  // one bit
        if (!bytes->empty()) (*bytes)[at] ^= static_cast<std::uint8_t>(1u << Below(8));
        break;
      case 1:  // one byte, often an extreme one
        if (!bytes->empty()) {
          constexpr std::uint8_t kExtremes[] = {0, 0x7f, 0x80, 0xff, '-', '9'};
          (*bytes)[at] = Below(2) ? kExtremes[Below(6)] : static_cast<std::uint8_t>(random_());
        }
        break;
      case 2:  // cut the end off
        bytes->resize(at);
        break;
      case 3:  // take some out
        bytes->erase(begin(), begin() + static_cast<std::ptrdiff_t>(Below(
                                            std::min<std::size_t>(bytes->size() - at, 32))));
        break;
      case 4: {  // the same again
        const Bytes copy(begin(),
                         begin() + static_cast<std::ptrdiff_t>(
                                       Below(std::min<std::size_t>(bytes->size() - at, 64))));
        bytes->insert(begin(), copy.begin(), copy.end());
        break;
      }
      default: {  // the end of another
        const Bytes& other = Any();
        const std::size_t from = Below(other.size());
        bytes->resize(at);
        bytes->insert(bytes->end(), other.begin() + static_cast<std::ptrdiff_t>(from),
                      other.end());
      }
    }
  }

  std::vector<Bytes> corpus_;
  std::mt19937 random_{20260101};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MUTATIONS CORPUS...\n", argv[0]);
    return 2;
  }
  const long mutations = std::strtol(argv[1], nullptr, 10);
  std::vector<Bytes> corpus = ReadCorpus(argc - 2, argv + 2);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: the corpus is empty\n", argv[0]);
    return 1;
  }
  Run({});
  for (const Bytes& bytes : corpus) Run(bytes);
  const std::size_t seeds = corpus.size();
  Mutator mutator(std::move(corpus));
  for (long i = 0; i < mutations; ++i) Run(mutator.Next());
  std::printf("%zu seeds, %ld mutations: all survived\n", seeds, mutations);
  return 0;
}
