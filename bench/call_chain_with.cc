#define CHAIN CallWithFramePointers
#include "bench/call_chain.inc"
