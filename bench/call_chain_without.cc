#define CHAIN CallWithoutFramePointers
#include "bench/call_chain.inc"
