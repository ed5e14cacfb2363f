// bench/call_chain.h - stacks of a chosen depth, from the same source with and without frame
// pointers.
#pragma once

namespace heldby::bench {

/// Calls leaf(context) beneath `depth` frames.
void CallWithoutFramePointers(int depth, void (*leaf)(void*), void* context);
void CallWithFramePointers(int depth, void (*leaf)(void*), void* context);

}  // namespace heldby::bench
