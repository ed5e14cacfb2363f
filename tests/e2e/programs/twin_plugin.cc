// Two libraries from one source, alike to the byte but for names: -DFUNCTION=LeakInFirst and
// -DFUNCTION=NeverCalled. The second is loaded where the first was.
#include <cstdlib>

extern "C" __attribute__((noinline)) void* FUNCTION() {
  void* volatile block = std::malloc(8 << 20);
  return block;
}
