"""No budget: what it costs that an Asio coroutine is a task, when it is spawned and each time it goes on,
beside plain co_spawn and a goroutine."""
import harness
from bench_registry import go_program
from harness import Contestant, Row


def run(context):
    program = context.program("asio_spawn")
    ours = Contestant("heldby", [program, "heldby"])
    plain = Contestant("plain", [program, "plain"])
    go = Contestant("go", [go_program(context)])
    operations, chunks, count = (100, 2, 1) if context.smoke else (20_000, 20, 5)

    def measure(contestant):
        size = (operations, chunks, 4) if contestant is go else (operations, chunks)
        return list(map(float, contestant.output(*size).split()))

    taken = harness.rounds([ours, plain, go], count, measure)
    spawn, hop = map(list, zip(*taken["heldby"], strict=True))
    plain_spawn, plain_hop = map(list, zip(*taken["plain"], strict=True))
    goroutine = [sample[0] for sample in taken["go"]]
    median, ratio = harness.median, harness.median_ratio
    return [
        Row(what="an Asio coroutine as a task: spawned, run, ended", ours=f"{median(spawn):.0f} ns",
            peers=f"goroutine, Go: {median(goroutine):.0f} ns", comparison=f"{ratio(spawn, goroutine):.2f}x"),
        Row(what="the same beside boost::asio::co_spawn", ours=f"{median(spawn):.0f} ns",
            peers=f"plain: {median(plain_spawn):.0f} ns", comparison=f"{ratio(spawn, plain_spawn):.2f}x"),
        Row(what="its resumption, through co_await post()", ours=f"{median(hop):.0f} ns",
            peers=f"plain: {median(plain_hop):.0f} ns", comparison=f"{ratio(hop, plain_hop):.2f}x"),
    ]
