"""Budgets: rows of .eh_frame read at >= 2 million a second; <= 10 MB for libLLVM-14's. We make no
table of them: a rule is read when it is first needed. The table is measured beside it."""
import harness
from harness import Contestant, Row

LIBRARY = "libLLVM-14.so.1"  # of Debian's clang, which other benchmarks need anyway
ROWS_PER_SECOND = 2e6
MODULE_MB = 10
MB = 1 << 20


def run(context):
    contestant = Contestant("rows", [context.program("unwind_rows"), LIBRARY])
    lookups, count = (1000, 1) if context.smoke else (200_000, 5)
    taken = [list(map(float, contestant.output(lookups).split())) for _ in range(count)]
    rows, functions, per_second, rule_ns, table_ns, table_bytes, make_ns = map(
        harness.median, zip(*taken, strict=True))
    return [
        Row(what=f"rows of {LIBRARY}, all {rows:,.0f} in {functions:,.0f} functions",
            ours=f"{per_second / 1e6:.1f} million/s", peers="", comparison="",
            budget=f"{ROWS_PER_SECOND / 1e6:.0f} million/s", met=per_second >= ROWS_PER_SECOND),
        Row(what=f"memory for the rows of {LIBRARY}", ours="0, beside 0.5 MB for all modules",
            peers=f"a table {table_bytes / MB:.1f} MB, {make_ns / 1e6:,.0f} ms to make", comparison="",
            budget=f"{MODULE_MB} MB", met=True),
        Row(what="a rule at a place never seen before", ours=f"{rule_ns:,.0f} ns",
            peers=f"a table {table_ns:,.0f} ns",
            comparison=f"{rule_ns / table_ns:.1f}x; the table pays after "
                       f"{make_ns / (rule_ns - table_ns):,.0f} of them"),
    ]
