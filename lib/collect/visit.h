// collect/visit.h - the core's visit_*, which take a function and a context, for a lambda.
//
// Threads  any.   Signals  unsafe: what is called may allocate.
// Self     the caller holds an UnsampledScope.
#pragma once

namespace heldby::collect {

template <typename View, typename Function>
void Visit(void (*visit)(void (*)(void*, const View&), void*), Function function) {
  visit([](void* context, const View& view) { (*static_cast<Function*>(context))(view); },
        &function);
}

}  // namespace heldby::collect
