"""The `heldby` command line: it starts what it is told to, and gets out of the way."""

import os
import re
import shutil
import signal
import socket

from harness import check, need, run


def test_heldby_run_passes_exit_codes_through(lab):
    for status in (0, 1, 3, 255):
        done = lab.run([lab.heldby, "run", "--", "/bin/sh", "-c", f"echo output; exit {status}"])
        check((done.status, done.out) == (status, "output\n"), f"exit {status} became {done.status}: {done.out}{done.err}")


def test_heldby_run_is_the_program_that_a_signal_reaches(lab):
    process = lab.start([lab.heldby, "run", "--", "/bin/sleep", "60"])
    process.wait_for(r"serves http://127\.0\.0\.1:\d+/debug/pprof/")
    done = process.stop(signal.SIGTERM)
    check(done.status == -signal.SIGTERM, f"SIGTERM became {done.status}")


def test_heldby_run_says_why_a_program_cannot_run(lab):
    missing = lab.run([lab.heldby, "run", "--", "no-such-program-anywhere"])
    check(missing.status == 127 and "no-such-program-anywhere" in missing.err, f"{missing.status}: {missing.err}")
    absent = lab.run([lab.heldby, "run", "--", lab.path("absent")])
    check(absent.status == 127, f"a missing file, as in a shell, is 127, not {absent.status}: {absent.err}")
    plain_file = lab.path("not-executable")
    with open(plain_file, "w", encoding="ascii") as file:
        file.write("text\n")
    refused = lab.run([lab.heldby, "run", "--", plain_file])
    check(refused.status == 126 and plain_file in refused.err, f"{refused.status}: {refused.err}")


def test_heldby_run_refuses_a_program_that_a_sanitizer_owns_and_none_that_only_names_one(lab):
    with open(lab.path("empty.cc"), "w", encoding="ascii") as file:
        file.write('#include <cstdio>\nint main() { std::puts("libasan.so.8"); }\n')
    plain = lab.compile(lab.path("empty.cc"), "names_one")
    done = lab.run([lab.heldby, "run", "--", plain])
    check((done.status, done.out) == (0, "libasan.so.8\n"), f"{done.status}: {done.out}{done.err}")
    for sanitizer in ("address", "thread"):
        owned = lab.compile(lab.path("empty.cc"), "owned", f"-fsanitize={sanitizer}")
        refused = lab.run([lab.heldby, "run", "--", owned])
        check(refused.status == 1 and "sanitizer" in refused.err and refused.out == "",
              f"{sanitizer}: {refused.status}: {refused.out}{refused.err}")


def test_heldby_run_refuses_a_folder_that_ld_preload_cannot_name(lab):
    for name in ("with space", "with:colon"):
        shutil.copytree(os.path.join(lab.build, "lib"), lab.path(f"{name}/lib"), symlinks=True,
                        ignore=lambda folder, names: [n for n in names if not n.startswith(("libheldby", "heldby-"))])
        os.mkdir(lab.path(f"{name}/bin"))
        shutil.copy2(lab.heldby, lab.path(f"{name}/bin/heldby"))
        done = lab.run([lab.path(f"{name}/bin/heldby"), "run", "--", "/bin/true"])
        check(done.status != 0 and name in done.err and "accepted" in done.err, f"{name}: {done.status}: {done.err}")


def test_heldby_run_names_wrong_usage(lab):
    for arguments in (["run"], ["run", "--"], ["run", "--wrong", "--", "true"], ["ls", "extra"], ["wrong"], ["convert"]):
        done = lab.run([lab.heldby, *arguments])
        check(done.status == 2 and done.err and done.out == "", f"heldby {arguments}: {done.status}\n{done.out}{done.err}")


def test_heldby_ls_shows_who_serves_until_it_ends(lab):
    unix = lab.path("own-%p.sock")
    for listen in ("127.0.0.1:0", "unix:" + unix):
        process = lab.start([lab.heldby, "run", f"--listen={listen}", "--", "/bin/sleep", "60"])
        address = lab.served_address(process.pid)
        if listen.startswith("unix:"):
            path = unix.replace("%p", str(process.pid))
            check(address == "unix:" + path, f"listed as {address}")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(path)
        else:
            check(lab.fetch(address + "/healthz")[0] == 200, f"{address} does not answer")
        process.stop()
        listing = lab.run_ok([lab.heldby, "ls"]).out
        check(not re.search(rf"^\s*{process.pid}\s", listing, re.MULTILINE), f"still listed:\n{listing}")


GPERFTOOLS_HOST = """
#include <gperftools/heap-profiler.h>
#include <cstdlib>
#include <vector>
__attribute__((noinline)) void KeepMuch(std::vector<void*>* kept) { kept->push_back(std::malloc(8000000)); }
int main(int, char** argv) {
  std::vector<void*> kept;
  HeapProfilerStart(argv[1]);
  KeepMuch(&kept);
  HeapProfilerDump("here");
  HeapProfilerStop();
  return kept[0] == nullptr;
}
"""


def test_heldby_convert_reads_what_gperftools_writes(lab):
    source, program = lab.path("gperf.cc"), lab.path("gperf")
    with open(source, "w", encoding="ascii") as file:
        file.write(GPERFTOOLS_HOST)
    lab.run_ok([need("g++"), "-g", "-O1", source, "-o", program, "-ltcmalloc"])
    lab.run_ok([program, lab.path("gperf.prof")])
    profile = next(lab.path(name) for name in sorted(os.listdir(lab.tmp)) if name.endswith(".heap"))
    converted = lab.path("converted.pb.gz")
    done = lab.run_ok([lab.heldby, "convert", profile, converted])
    check(done.out == "" and done.err == "", f"convert is not silent: {done.out}{done.err}")
    # Such a profile has addresses alone; which names pprof finds for them depends on its own tools.
    top = lab.top(converted)
    check(top.total >= 8000000, f"8 MB are missing\n{top.text}")
    check(program in lab.pprof("-raw", converted), "the program's mapping is missing")
    with open(lab.path("garbage"), "wb") as file:
        file.write(b"this is no profile")
    refused = lab.run([lab.heldby, "convert", lab.path("garbage"), lab.path("never.pb.gz")])
    check(refused.status == 1 and "garbage" in refused.err, f"{refused.status}: {refused.err}")
    check(not os.path.exists(lab.path("never.pb.gz")), "a failed conversion left a file")


if __name__ == "__main__":
    run(globals())
