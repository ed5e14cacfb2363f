"""Budgets: a stack, warm, without frame pointers, <= 15 ns a frame; the first stack of a new
thread <= 20 us; no allocation."""
import harness
from harness import Contestant, Row

FRAME_NS = 15
NEW_THREAD_US = 20
DEPTHS = (10, 30, 100)


def field_for(context):
    field = [Contestant(way, [context.program("stack_capture"), way])
             for way in ("heldby", "libgcc", "frames")]
    # Its own program, and only where the package is installed.
    if (context.build / "bench" / "stack_capture_libunwind").exists():
        field.append(
            Contestant("libunwind", [context.program("stack_capture_libunwind"), "libunwind"]))
    return field


def measure(context, depth):
    """{contestant: (ns a frame, us of a new thread's first, allocations)}: medians of runs."""
    captures, chunks, count = (20, 2, 1) if context.smoke else (2000, 25, 9)

    def once(contestant):
        ns, frames, thread_ns, _, allocated = map(
            float, contestant.output(depth, captures, chunks).split())
        if frames < depth:
            raise SystemExit(f"bench: {contestant.name} saw {frames} of {depth} frames")
        return ns / frames, thread_ns / 1000, allocated

    taken = harness.rounds(field_for(context), count, once)
    return {name: [harness.median(column) for column in zip(*values, strict=True)]
            for name, values in taken.items()}


def row_for_frames(depth, taken):
    ours = taken["heldby"][0]
    others = {name: values[0] for name, values in taken.items() if name != "heldby"}
    return Row(what=f"stack of {depth} frames, warm",
               ours=f"{ours:.2f} ns/frame",
               peers=", ".join(f"{name} {ns:.1f}" for name, ns in others.items()),
               comparison=", ".join(f"{ours / ns:.2g}x {name}" for name, ns in others.items()),
               budget=f"{FRAME_NS} ns/frame", met=ours <= FRAME_NS)


def row_for_new_thread(depth, taken):
    ours = taken["heldby"][1]
    others = {name: values[1] for name, values in taken.items() if name != "heldby"}
    return Row(what=f"first stack of a new thread, {depth} frames",
               ours=f"{ours:.2f} us",
               peers=", ".join(f"{name} {us:.2f}" for name, us in others.items()),
               comparison=", ".join(f"{ours / us:.2g}x {name}" for name, us in others.items()),
               budget=f"{NEW_THREAD_US} us", met=ours <= NEW_THREAD_US)


def run(context):
    depths = (30,) if context.smoke else DEPTHS
    by_depth = {depth: measure(context, depth) for depth in depths}
    rows = [row_for_frames(depth, by_depth[depth]) for depth in depths]
    rows += [row_for_new_thread(30, by_depth[30])]
    allocated = max(taken["heldby"][2] for taken in by_depth.values())
    rows.append(Row(what="allocations during captures", ours=f"{allocated:.0f}", peers="",
                    comparison="", budget="0", met=allocated == 0))
    return rows
