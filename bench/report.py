"""Runs the benchmarks and prints the table; see run.sh."""
import argparse
import importlib
import pathlib
import sys

import harness

NAMES = ["malloc_pair", "free_filter", "stack_capture", "unwind_rows", "clang_compile", "heap_profile",
         "registry", "trace", "receive", "asio_spawn", "cpu_profile", "contention", "metrics", "services", "leak_watch"]
# Too long for everybody's every run.
ONLY_WHEN_NAMED = ["clang_instructions", "oom"]


BEGIN = "<!-- from here to the next mark ./dev bench writes -->\n"
END = "<!-- ./dev bench -->\n"


def put_into(document, text):
    """The complete table becomes that of the document."""
    before, _, rest = document.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    if not old:
        raise SystemExit(f"bench: {document} has no place for the table: {BEGIN}")
    document.write_text(f"{before}{BEGIN}{text}{END}{after}")
    print(f"bench: written to {document}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {' '.join(NAMES)}")
    parser.add_argument("--smoke", action="store_true", help="tiny iterations: does it run?")
    arguments = parser.parse_intermixed_args()
    for name in arguments.names:
        if name not in NAMES + ONLY_WHEN_NAMED:
            parser.error(f'unknown benchmark "{name}"; accepted: {" ".join(NAMES + ONLY_WHEN_NAMED)}')

    context = harness.Context(build=arguments.build.resolve(), smoke=arguments.smoke,
                              root=pathlib.Path(__file__).resolve().parent.parent)
    rows = []
    for name in arguments.names or NAMES:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"bench_{name}").run(context)

    if arguments.smoke:  # too short to say anything about a promise
        for row in rows:
            row.met = None
    table = harness.markdown(rows)
    sys.stdout.write(table)
    if not arguments.smoke:
        report = context.build / "bench" / "report.md"
        report.write_text(f"{harness.machine()}\n\n{table}")
        print(f"bench: written to {report}", file=sys.stderr)
        if not arguments.names:
            put_into(context.root / "docs" / "performance.md", report.read_text())


if __name__ == "__main__":
    main()
