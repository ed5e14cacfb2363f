"""The same question as clang_compile, where no neighbour can answer it: instructions of the whole
compiler, start to end, counted by callgrind. Ten minutes, so it is run only when named."""
import os
import tempfile

from concurrent.futures import ThreadPoolExecutor

from harness import Contestant, Row

RATIO = 1.01


def run(context):
    with tempfile.TemporaryDirectory() as scratch:
        def contestant(name, environment):
            source = "bench/call_chain_without.cc" if context.smoke else "bench/template_heavy.cc"
            return Contestant(name, ["clang++", "-std=c++20", "-O2", "-DHELDBY_BENCH_SIZE=1", "-I", str(context.root),
                                     "-c", str(context.root / source), "-o",
                                     os.path.join(scratch, f"{name}.o")], environment)

        field = [contestant("glibc", {}), contestant("heldby", {"LD_PRELOAD": context.preload})]
        with ThreadPoolExecutor(max_workers=2) as pool:
            glibc, heldby = pool.map(lambda one: one.collected(), field)
    return [Row(what="clang++ -O2 -c, preloaded over glibc: instructions",
                ours=f"{heldby / 1e9:.3f} billion", peers=f"glibc {glibc / 1e9:.3f} billion",
                comparison=f"{heldby / glibc:.4f}x", budget=f"{RATIO}x", met=heldby <= RATIO * glibc)]
