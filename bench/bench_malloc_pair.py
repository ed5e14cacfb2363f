"""Budgets: linked over tcmalloc <= +12 instructions and <= +1.0 ns a pair of malloc and free,
preloaded over glibc <= +20 instructions, each with sampling on at 512 KiB."""
import harness
from harness import Contestant, Row

LINKED_INSTRUCTIONS = 12
LINKED_NS = 1.0
PRELOADED_INSTRUCTIONS = 20
SAMPLE_BYTES = "524288"


def contestants(context):
    def program(variant):
        return [context.program(f"malloc_pair_{variant}")]

    tcmalloc, jemalloc, glibc = program("tcmalloc"), program("jemalloc"), program("glibc")
    heldby = program("heldby_tcmalloc")
    on = {"HELDBY_SAMPLE_BYTES": SAMPLE_BYTES}
    off = {"HELDBY_SAMPLE_BYTES": "0"}
    preload = {"LD_PRELOAD": context.preload}
    return {
        "tcmalloc": (Contestant("tcmalloc", tcmalloc), []),
        "tcmalloc, 2 empty MallocHooks": (Contestant("hooks", tcmalloc), ["hooks"]),
        "tcmalloc, its own sampling": (
            Contestant("sampling", tcmalloc, {"TCMALLOC_SAMPLE_PARAMETER": SAMPLE_BYTES}), []),
        "heldby linked over tcmalloc": (Contestant("linked", heldby, on), []),
        "heldby linked, sampling off": (Contestant("linked off", heldby, off), []),
        "jemalloc": (Contestant("jemalloc", jemalloc), []),
        "jemalloc prof:true": (
            Contestant("prof", jemalloc, {"MALLOC_CONF": "prof:true,lg_prof_sample:19"}), []),
        "glibc": (Contestant("glibc", glibc), []),
        "heldby preloaded over glibc": (Contestant("preloaded", glibc, preload | on), []),
        "heldby preloaded, sampling off": (Contestant("preloaded off", glibc, preload | off), []),
    }


# Each beside the bare allocator that it stands on.
BASES = {
    "heldby linked over tcmalloc": "tcmalloc",
    "heldby linked, sampling off": "tcmalloc",
    "tcmalloc, 2 empty MallocHooks": "tcmalloc",
    "tcmalloc, its own sampling": "tcmalloc",
    "jemalloc prof:true": "jemalloc",
    "heldby preloaded over glibc": "glibc",
    "heldby preloaded, sampling off": "glibc",
}


def measure(context, operation):
    field = contestants(context)
    few, many = (1024, 52224) if context.smoke else (256000, 2304000)
    instructions = {
        name: contestant.instructions_per_operation(
            lambda n, extra=extra: [operation, "spread", n, 1, *extra], few, many)
        for name, (contestant, extra) in field.items()
        if not context.smoke or (operation == "malloc" and name in
                                 ("tcmalloc", "heldby linked over tcmalloc"))
    }
    pairs, chunks, count = (1024, 3, 1) if context.smoke else (512000, 25, 15)
    extras = {contestant.name: extra for contestant, extra in field.values()}

    def ns(contestant):
        # The fastest of the chunks: whatever else ran can only have added to it.
        out = contestant.output(operation, "spread", pairs, chunks, *extras[contestant.name])
        return float(out.split()[0])

    times = harness.rounds([c for c, _ in field.values()], count, ns)
    return instructions, {name: times[c.name] for name, (c, _) in field.items()}


def row(operation, name, base, instructions, times):
    more_ns = harness.median_difference(times[name], times[base])
    counted = name in instructions and base in instructions  # a smoke run counts a few only
    more = instructions[name] - instructions[base] if counted else 0
    budget, met = "", None
    if operation == "malloc" and name == "heldby linked over tcmalloc":
        budget = f"+{LINKED_INSTRUCTIONS} instructions, +{LINKED_NS:.1f} ns"
        met = more <= LINKED_INSTRUCTIONS and more_ns <= LINKED_NS
    if operation == "malloc" and name == "heldby preloaded over glibc":
        budget = f"+{PRELOADED_INSTRUCTIONS} instructions"
        met = more <= PRELOADED_INSTRUCTIONS

    def figures(which):
        count = f"{instructions[which]:.1f} instr, " if which in instructions else ""
        return f"{count}{harness.median(times[which]):.2f} ns"

    what = "malloc(64)+free" if operation == "malloc" else "new(64)+sized delete"
    ours = name.startswith("heldby")
    return Row(what=f"{what}: {name}",
               ours=figures(name) if ours else "",
               peers=f"{base} {figures(base)}" if ours else f"{figures(name)}; {base} "
                                                            f"{figures(base)}",
               comparison=(f"{more:+.1f} instr, " if counted else "") + f"{more_ns:+.2f} ns",
               budget=budget, met=met if counted else None)


def worst_case(context):
    """The recycled block lies at a page boundary, where free() has to look it up each time."""
    field = contestants(context)
    few, many = (256, 25856) if context.smoke else (256000, 1280000)
    counts = {name: field[name][0].instructions_per_operation(
        lambda n: ["malloc", "page", n, 1], few, many)
        for name in ("tcmalloc", "heldby linked over tcmalloc")}
    ours, base = counts["heldby linked over tcmalloc"], counts["tcmalloc"]
    return Row(what="malloc(64)+free, worst case: the same page-aligned block for ever",
               ours=f"{ours:.1f} instr", peers=f"tcmalloc {base:.1f} instr",
               comparison=f"{ours - base:+.1f} instr")


def run(context):
    rows = []
    for operation in ("malloc", "new"):
        instructions, times = measure(context, operation)
        rows += [row(operation, name, base, instructions, times) for name, base in BASES.items()]
    return rows + [worst_case(context)]
