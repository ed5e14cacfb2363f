"""bench/allocators.py BUILD [SUITE...]

The tests that allocators bring for themselves, each run as it is, with heldby preloaded, and with
heldby recording an allocation every 256 bytes. Ends with status 1 if one of them ends otherwise with us.

glibc and stress-ng come as packages (./dev setup); tcmalloc, jemalloc and mimalloc as Debian's
sources, which apt-get brings and which are built in BUILD/allocators/ once. glibc's tests and
mimalloc's stress test keep to the functions of every allocator, and are run over all of them.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import services
from services import Trouble

TEST_SECONDS = 450
BUILD_SECONDS = 1500
# A test that ended otherwise with us is only at fault if alone it never ends so.
REPEATS = 4
SOURCES = """deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
"""
# Tests that look behind malloc's promise, where a recorded block is not what they expect: it lies in pages of its
# own (docs/safety.md). They are run with us, and nothing is recorded.
NOTHING_RECORDED = {
    "tst-free-errno": "writes over the page before a large block, for glibc's header is elsewhere",
    "tst-malloc-backtrace": "spoils what lies before a block, and expects glibc to see it",
    "tcmalloc_minimal_unittest": "expects every block to have the size that nallocx() tells",
    "tcm_min_asserts_unittest": "the same",
    "tcmalloc_and_profiler_unittest": "the same",
    "tcmalloc_both_unittest": "the same",
    "malloc_extension_debug_test": "expects blocks to be of the smallest size class that will do",
}
DEBUG = "libc_malloc_debug.so.0"
# Those that glibc's own Makefile gives an environment.
SETTINGS = {
    "tst-malloc-check": (DEBUG, {"MALLOC_CHECK_": "3"}),
    "tst-malloc-usable": (DEBUG, {"MALLOC_CHECK_": "3"}),
    "tst-malloc-usable-tunables": (DEBUG, {"GLIBC_TUNABLES": "glibc.malloc.check=3"}),
    "tst-mxfast": ("", {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}),
}
WITHOUT_ENDPOINT = {
    "tst-mallocfork": "forks in a handler that interrupts malloc, which glibc allows a process of one thread (docs/safety.md)",
    "tst-mallocfork2": "the same",
    "tst-mallocfork3": "the same",
    "tst-free-errno": "maps pages over those beside its block, which are another thread's if one maps memory meanwhile",
    "tst-malloc-thread-fail": "sets a limit of address space to what it has, and counts on the rest of that",
    "tst-mxfast": "counts the free pieces of a heap that no other thread has used",
    "markidle_unittest": "expects that no thread but its own has memory in tcmalloc's caches",
}
OVER = {"glibc": "", "tcmalloc": "libtcmalloc.so.4", "jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2.0"}


@dataclasses.dataclass
class Test:
    name: str
    argv: list
    over: str = ""  # an allocator to preload
    settings: dict = dataclasses.field(default_factory=dict)  # its own


def command(argv, **options):
    done = subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=BUILD_SECONDS, check=False, **options)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def unpacked(archive, folder):
    """The one folder that an archive brings."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        command(["tar", "-C", folder, "-xf", archive])
    return next(entry for entry in folder.iterdir() if entry.is_dir())


def debian_source(package, folder):
    """What apt-get source brings, with lists of its own: the machine's need not know sources."""
    state = folder / "apt"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(SOURCES, encoding="ascii")
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::sourcelist={state}/sources.list", "-o", "Dir::Etc::sourceparts=-",
           "-o", f"Dir::State::lists={state}/lists"]
    if not list(folder.glob(f"{package}_*.orig.tar.*")):
        command([*apt, "update"])
        command([*apt, "source", "--download-only", package], cwd=folder)
    return unpacked(next(folder.glob(f"{package}_*.orig.tar.*")), folder / package)


def compiled_where_possible(jobs):
    """Runs [argv, result] side by side; the results of those that succeeded."""
    def one(job):
        argv, result = job
        done = subprocess.run([str(word) for word in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=BUILD_SECONDS, check=False)
        return result if done.returncode == 0 else None
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [result for result in pool.map(one, jobs) if result]


def glibc_programs(folder):
    """The tests of glibc's malloc/ that need nothing of its inside."""
    archive = next(iter(pathlib.Path("/usr/src/glibc").glob("glibc-*.tar.xz")), None)
    if archive is None:
        raise Trouble("no /usr/src/glibc/glibc-*.tar.xz; the package glibc-source has it")
    source = unpacked(archive, folder / "glibc")
    out = folder / "glibc.bin"
    out.mkdir(exist_ok=True)
    include = out / "include"
    include.mkdir(exist_ok=True)
    # Not all of include/, which is in the place of the installed headers.
    for name in ("include/libc-diag.h", "include/array_length.h", "include/libc-pointer-arith.h", "include/intprops.h", "support",
                 "malloc"):
        link = include / pathlib.Path(name).name
        link.unlink(missing_ok=True)
        link.symlink_to(source / name)
    (include / "config.h").write_text("", encoding="ascii")
    flags = ["-std=gnu11", "-O2", "-g", "-fno-builtin", "-w", "-D_GNU_SOURCE", "-DTEST_NO_MALLOPT", "-pthread",
             "-DTIMEOUTFACTOR=20", "-include", "limits.h", "-I", include, "-I", source / "support"]
    wanted = re.findall(r"please -D(\w+)=", (source / "support" / "support_paths.c").read_text(encoding="utf-8"))
    flags += [f'-D{name}="/"' for name in wanted]
    objects = compiled_where_possible(
        (["gcc", *flags, "-c", file, "-o", out / f"support.{file.stem}.o"], out / f"support.{file.stem}.o")
        for file in sorted((source / "support").glob("*.c")) if not file.name.startswith(("tst-", "test-", "echo-",
                           "shell-", "true-", "links-")))
    library = out / "libsupport.a"
    library.unlink(missing_ok=True)
    command(["ar", "rcs", library, *objects])
    programs = compiled_where_possible(
        (["gcc", *flags, file, "-o", out / file.stem, library, "-ldl"], out / file.stem)
        for file in sorted([*(source / "malloc").glob("tst-*.c"), source / "malloc" / "mallocbug.c"])
        # These bring an allocator of their own, or look into glibc's.
        if not file.name.startswith(("tst-interpose", "tst-compathooks", "tst-mallocstate")))
    if len(programs) < 30:
        raise Trouble(f"only {len(programs)} of glibc's tests could be compiled")
    return programs


def glibc(folder):
    return [Test(program.name, [program], *SETTINGS.get(program.name, ())) for program in glibc_programs(folder)]


def glibc_over_others(folder):
    return [Test(f"{program.name} over {name}", [program], over) for program in glibc_programs(folder)
            for name, over in OVER.items() if over
            # They fork while locks are held, or from a handler: only glibc's own allocator goes with that.
            if program.name not in ("tst-malloc-fork-deadlock", *WITHOUT_ENDPOINT, *NOTHING_RECORDED, *SETTINGS)]


def tcmalloc(folder):
    source = debian_source("google-perftools", folder)
    out = folder / "tcmalloc.bin"
    if not (out / "tcmalloc_unittest").exists():
        command(["cmake", "-S", source, "-B", out, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                 "-DGPERFTOOLS_BUILD_STATIC=OFF", "-DCMAKE_CXX_FLAGS=-w"])
        command(["cmake", "--build", out])
    names = sorted(path.name for path in out.iterdir() if path.is_file() and os.access(path, os.X_OK) and
                   path.name.endswith(("_unittest", "_test")))
    # They need the scripts around them: arguments, several runs, profiles to read.
    needs_a_script = ("profiler", "heap_checker", "heap_profiler", "sampling", "debugallocation", "maybe_threads")
    return [Test(name, [out / name]) for name in names if not name.startswith(needs_a_script)]


def jemalloc(folder):
    source = debian_source("jemalloc", folder)
    if not (source / "Makefile").exists():
        command(["./configure", "--disable-initial-exec-tls", "--disable-static"], cwd=source)
    command(["make", "-j", os.cpu_count(), "build_lib_shared", "tests_integration"], cwd=source)
    programs = [path for path in sorted((source / "test" / "integration").rglob("*"))
                if path.is_file() and not path.suffix and os.access(path, os.X_OK)]
    return [Test(path.name, [path]) for path in programs]


def mimalloc(folder):
    source = debian_source("mimalloc", folder)
    out = folder / "mimalloc.bin"
    if not (out / "mimalloc-test-api").exists():
        command(["cmake", "-S", source, "-B", out, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DMI_BUILD_STATIC=OFF",
                 "-DMI_BUILD_OBJECT=OFF"])
        command(["cmake", "--build", out])
    for name, compiler in (("test-stress.c", "gcc"), ("main-override.c", "gcc"), ("main-override.cpp", "g++")):
        command([compiler, "-O2", "-w", "-DUSE_STD_MALLOC", f"-I{source}/include", source / "test" / name, "-o",
                 out / name.replace(".", "_"), f"-L{out}", f"-Wl,-rpath,{out}", *(["-lmimalloc"] if "main" in name else []),
                 "-pthread"])
    own = [Test(name, [out / name]) for name in ("mimalloc-test-api", "mimalloc-test-api-fill", "mimalloc-test-stress",
                                                 "main-override_c", "main-override_cpp") if (out / name).exists()]
    return own + [Test(f"test-stress over {name}", [out / "test-stress_c", "16", "20", "20"], over)
                  for name, over in OVER.items()]


def stress_ng(_folder):
    stressors = ("malloc", "bigheap", "brk", "stack", "stackmmap", "memthrash", "mremap", "fork", "vfork", "clone",
                 "exec", "pthread", "dynlib", "sigsegv", "sigsuspend", "sigpending", "sigq", "switch", "sem", "mutex",
                 "tsearch", "hsearch", "qsort", "sock", "sockpair", "pipe", "dup", "poll", "timer", "itimer")
    return [Test(f"{name} over {allocator}", ["stress-ng", f"--{name}", "2", "--timeout", "1s", "--verify", "--oomable",
                                              "--log-brief"], over)
            for name in stressors for allocator, over in OVER.items()
            # What does not allocate much is the same over every allocator.
            if allocator == "glibc" or name in ("malloc", "bigheap", "fork", "pthread", "tsearch")]


SUITES = {"glibc": glibc, "stress-ng": stress_ng, "glibc-over-others": glibc_over_others, "tcmalloc": tcmalloc,
          "jemalloc": jemalloc, "mimalloc": mimalloc}


def outcome(test, core, settings, folder):
    """How it ended, in a word or two."""
    env = services.clean_environment() | test.settings | settings
    env["LD_PRELOAD"] = " ".join(name for name in (core, test.over) if name)
    with tempfile.TemporaryDirectory(dir=folder) as cwd, open(os.path.join(cwd, "output"), "wb") as output:
        process = subprocess.Popen([str(word) for word in test.argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(TEST_SECONDS)
        except subprocess.TimeoutExpired:
            return f"did not end in {TEST_SECONDS} s"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what it left behind, too
            except ProcessLookupError:
                pass
            process.wait()
    return f"signal {-status}" if status < 0 else f"status {status}"


def ways(test, folder):
    many = {"HELDBY_SAMPLE_BYTES": "256", "HELDBY_BLOCK_PROFILE_RATE": "1", "HELDBY_MUTEX_PROFILE_FRACTION": "1"}
    listen = {} if test.name in WITHOUT_ENDPOINT else {"HELDBY_LISTEN": f"unix:{folder}/%p.sock"}
    if test.name in NOTHING_RECORDED:
        return {"with heldby, nothing recorded": listen | {"HELDBY_SAMPLE_BYTES": "0"}}
    return {"with heldby": listen, "an allocation every 256 bytes recorded": listen | many}


def judged(test, core, folder):
    """(how it ends alone, what is otherwise with us)"""
    alone = outcome(test, "", {}, folder)
    wrongs = []
    for way, settings in ways(test, folder).items():
        with_us = outcome(test, core, settings, folder)
        if with_us == alone:
            continue
        also_alone = {outcome(test, "", {}, folder) for _ in range(REPEATS)}
        if with_us not in also_alone:
            wrongs.append(f"{test.name}: {with_us} {way}; without us {alone}")
    return alone, wrongs


def main():
    parser = argparse.ArgumentParser(prog="bench/allocators.py")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"any of: {' '.join(SUITES)}")
    arguments = parser.parse_args()
    for name in arguments.suites:
        if name not in SUITES:
            parser.error(f'unknown suite "{name}"; accepted: {" ".join(SUITES)}')
    build = arguments.build.resolve()
    core = str(build / "lib" / "libheldby.so")
    folder = build / "allocators"
    folder.mkdir(exist_ok=True)
    all_wrongs = []
    rows = ["| suite | tests | pass without us | otherwise with us |", "|---|---|---|---|"]
    for name in arguments.suites or SUITES:
        start = time.monotonic()
        tests = SUITES[name](folder)
        if not tests:
            raise Trouble(f"{name} has no tests")
        print(f"allocators: {name}: {len(tests)} tests, made in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(lambda test: judged(test, core, folder), tests))
        wrongs = [wrong for _, found in results for wrong in found]
        passed = sum(alone == "status 0" for alone, _ in results)
        rows.append(f"| {name} | {len(tests)} | {passed} | {'; '.join(wrongs) or 'none'} |")
        all_wrongs += wrongs
        for test, (alone, _) in zip(tests, results, strict=True):
            if alone != "status 0":
                print(f"allocators: {test.name}: {alone} without us", file=sys.stderr)
    print("\n".join(rows))
    sys.exit(1 if all_wrongs else 0)


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(f"allocators: {trouble}")
