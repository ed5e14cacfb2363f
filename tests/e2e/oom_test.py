"""Before the OOM killer: real programs that grow towards real limits, and what they leave behind.

The limit is a memory control group where one can be made (v1 or v2), else RLIMIT_AS; the test says which.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import time

from dump_folder import files, folder_on_disk
from harness import Failure, check, read_text, run, wait_until
from memory_group import memory_group

MEGA = 1000 * 1000


def grows(lab):
    return lab.compile("grows.cc", "grows", "-pthread")


def grows_and_watches(lab):
    return lab.compile("grows.cc", "grows_and_watches", "-DWATCHES_ITSELF", *lab.linked_flags())


def address_space_bytes(process):
    found = re.search(r"VmSize:\s+(\d+) kB", read_text(f"/proc/{process.pid}/status"))
    return int(found[1]) * 1024


def fill_address_space(process, share=1.0):
    """The limit comes down to what is used: at 1.0 there is no byte left."""
    limit = int(address_space_bytes(process) / share)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))


def check_names_the_holder(lab, path, least_bytes):
    out = lab.path("converted.pb.gz")
    done = lab.run_ok([lab.heldby, "convert", path, out])
    check(done.out + done.err == "", f"heldby convert says {done.out}{done.err}")
    comments = lab.pprof("-comments", out)
    check("was cut" not in comments and "damaged" not in comments, f"{path} is not whole:\n{comments}")
    held = lab.top(out).cum_of("Hoard::Grow")
    check(held >= least_bytes, f"{path}: {held} bytes at Hoard::Grow, at least {least_bytes} are held\n"
                               f"{lab.top(out).text}")
    lines = lab.pprof("-top", "-lines", out)
    check(re.search(r"Hoard::Grow\(\) .*/grows\.cc:\d+", lines), f"no line of the source:\n{lines}")
    return comments


def box_writes(folder):
    (box,) = files(folder, ".box")
    with open(box, "rb") as file:
        return max(int(number) for number in re.findall(rb"heldby box 1 (\d+)", file.read()))


def wait_for_a_look(folder):
    """Returns when the watch has gone round twice since the call."""
    before = box_writes(folder)
    wait_until(lambda: box_writes(folder) >= before + 2, "the watch to write its box", 60)


def test_a_process_that_runs_into_its_limit_leaves_dumps_and_a_box(lab):
    limit = 256 << 20
    with folder_on_disk(lab) as folder, memory_group(limit) as group:
        argv = [grows(lab), 40, 2000]
        not_heap = 64 << 20
        env = lab.preloaded(HELDBY_DUMP_DIR=folder)
        if group:
            print(f"limit: {group.folder}")
            done = lab.run(group.command(argv), env, seconds=120)
            check(done.status == -signal.SIGKILL, f"ended with {done.status}, not by the OOM killer\n{done.err}")
            err = done.err
        else:
            print("limit: RLIMIT_AS, no control group can be made here")
            limit, not_heap = 640 << 20, 320 << 20  # address space that is reserved counts, too
            process = lab.start(["sh", "-c", f'ulimit -v {limit >> 10}; exec "$@"', "sh", *argv], env)
            process.wait_for("out of memory", 120)
            wait_for_a_look(folder)
            err = process.stop(signal.SIGKILL).err
        dumps = files(folder, ".heap")
        check(len(dumps) >= 2 and not files(folder, ".partial"), f"{os.listdir(folder)}\n{err}")
        for path in dumps:
            level = path.split(".")[-2]
            least = {"soon": 0.5, "80": 0.8, "90": 0.9, "95": 0.95}[level] * limit - not_heap
            comments = check_names_the_holder(lab, path, least)
            check(f"limit: {limit} bytes" in comments, comments)
            check(f"; wrote {path}\n" in err, f"no line about {path}:\n{err}")
        (box,) = files(folder, ".box")
        check_names_the_holder(lab, box, 0.9 * limit - not_heap)
        summary = lab.run_ok([lab.heldby, "convert", "-summary", box]).out
        check("what this process held when it was last looked at" in summary, summary)


def test_with_no_byte_of_address_space_left_a_dump_is_written(lab):
    with folder_on_disk(lab) as folder:
        process = lab.start([grows(lab), 1000, 100], lab.preloaded(HELDBY_DUMP_DIR=folder), stdin=subprocess.PIPE)
        process.wait_for("grown")
        wait_until(lambda: files(folder, ".box"), "the watch to begin")
        wait_for_a_look(folder)
        fill_address_space(process)
        wait_until(lambda: files(folder, ".95.heap"), "a dump with nothing left", 60)
        check_names_the_holder(lab, files(folder, ".95.heap")[0], 80 * MEGA)
        check(len(files(folder, ".heap")) == 1, f"levels passed on the way are not written: {os.listdir(folder)}")


def test_memory_that_is_short_before_the_watch_begins_is_a_dump(lab):
    argv = ["sh", "-c", 'ulimit -v 560000; exec "$@"', "sh", grows_and_watches(lab), 100000, 400]
    with folder_on_disk(lab) as folder:
        process = lab.start([*argv, folder, 0, 300, "late"], stdin=subprocess.PIPE)
        process.wait_for("watched\n")
        wait_until(lambda: files(folder, ".heap"), "a dump", 60)
        process.popen.stdin.close()
        check(process.wait().status == 0, process.err())


def test_the_watch_and_its_dumps_allocate_nothing(lab):
    notes = lab.compile("notes_allocations.cc", "libnotes.so", "-shared", "-fPIC")

    def noted(thread):
        with folder_on_disk(lab) as folder:
            env = lab.preloaded(HELDBY_DUMP_DIR=folder, NOTED_THREAD=thread)
            env["LD_PRELOAD"] += f":{notes}"
            process = lab.start([grows(lab), 1000, 60], env, stdin=subprocess.PIPE)
            process.wait_for("grown")
            wait_until(lambda: files(folder, ".box"), "the watch to begin")
            fill_address_space(process, 0.82)
            wait_until(lambda: files(folder, ".80.heap"), "a dump", 60)
            check_names_the_holder(lab, files(folder, ".80.heap")[0], 40 * MEGA)
            wait_for_a_look(folder)
            process.popen.stdin.close()
            return process.wait().err.count("noted: ")

    check(noted("grows") > 100, "the allocations of the program itself are not noted")
    count = noted("heldby-watch")
    check(count == 0, f"{count} allocations of the watch")


def test_a_killed_process_leaves_its_box_and_one_that_ends_takes_it_away(lab):
    with folder_on_disk(lab) as folder:
        for end in ("killed", "ended"):
            process = lab.start([grows(lab), 1000, 40], lab.preloaded(HELDBY_DUMP_DIR=folder), stdin=subprocess.PIPE)
            process.wait_for("grown")
            wait_until(lambda: files(folder, ".box"), "a box")
            wait_for_a_look(folder)
            if end == "killed":
                process.stop(signal.SIGKILL)
                (box,) = files(folder, ".box")
                check_names_the_holder(lab, box, 30 * MEGA)
                top = lab.run_ok([lab.heldby, "top", box]).out
                check("Hoard::Grow" in top, f"heldby top:\n{top}")
                os.unlink(box)
            else:
                process.popen.stdin.close()
                check(process.wait().status == 0, process.err())
                check(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def test_a_watch_that_starts_while_the_process_exits_leaves_no_box(lab):
    program = lab.compile("grows.cc", "watches_at_exit", "-DWATCHES_ITSELF", "-DWATCHES_AGAIN_AT_EXIT",
                          *lab.linked_flags())
    with folder_on_disk(lab) as folder:
        done = lab.run([program, 1000, 1, folder])
        check((done.status, done.err) == (0, "") and "started at exit" in done.out, f"{done.status} {done.out}{done.err}")
        check(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def test_a_folder_that_cannot_be_used_is_one_clear_line(lab):
    with folder_on_disk(lab) as folder:
        plain = os.path.join(folder, "file")
        with open(plain, "w", encoding="ascii"):
            pass
        for value, why in (("/dev/shm", "tmpfs"), ("/nowhere/at/all", "No such file"), (plain, "Not a directory")):
            process = lab.start([grows(lab), 1000, 1], lab.preloaded(HELDBY_DUMP_DIR=value), stdin=subprocess.PIPE)
            process.wait_for("heldby: .*\n")
            process.popen.stdin.close()
            done = process.wait()
            check((done.status, done.out) == (0, "grown\n"), f"the host: {done.status} {done.out}")
            check(len(done.err.splitlines()) == 1, f"{value}: expected one line\n{done.err}")
            for word in ("HELDBY_DUMP_DIR", value, why, "accepted"):
                check(word in done.err, f"{value}: no word of {word!r} in:\n{done.err}")


def test_a_short_disk_is_refused_in_one_line_and_the_box_goes_on(lab):
    with folder_on_disk(lab) as folder:
        process = lab.start([grows_and_watches(lab), 1000, 60, folder, 1 << 60], stdin=subprocess.PIPE)
        process.wait_for("grown")
        fill_address_space(process, 0.92)
        line = process.wait_for(r"heldby: memory is running out: .*no dump: .*", 60)[0]
        check(folder in line and "MiB free, it takes" in line, line)
        wait_for_a_look(folder)
        check(not files(folder, ".heap") and not files(folder, ".partial"), f"{os.listdir(folder)}")
        process.popen.stdin.close()
        err = process.wait().err
        check(err.count("no dump") == 1, f"said more than once:\n{err}")


def test_a_level_is_written_once_in_its_cool_down_and_again_after_it(lab):
    for cooldown, expected in ((100000, 1), (1, 2)):
        with folder_on_disk(lab) as folder:
            process = lab.start([grows_and_watches(lab), 1000, 300, folder, 0, cooldown], stdin=subprocess.PIPE)
            process.wait_for("grown")
            fill_address_space(process, 0.85)
            wait_until(lambda: files(folder, ".80.heap"), "the first dump", 60)
            process.popen.stdin.write(b"frees\n")
            process.popen.stdin.flush()
            process.wait_for("frees")
            # Looked at while it is low, and the second of the short cool-down is over.
            for _ in range(3):
                wait_for_a_look(folder)
            process.popen.stdin.write(b"again\n")
            process.popen.stdin.flush()
            process.wait_for("again", 60)
            wait_until(lambda: len(files(folder, ".80.heap")) >= expected, f"{expected} dumps", 60)
            for _ in range(3):
                wait_for_a_look(folder)
            check(len(files(folder, ".80.heap")) == expected, f"cool-down {cooldown} s: {os.listdir(folder)}")
            process.stop(signal.SIGKILL)


def test_a_forked_child_has_a_watch_and_a_box_of_its_own(lab):
    program = "import os, time\nif os.fork() == 0: time.sleep(100)\nos.wait()"
    with folder_on_disk(lab) as folder:
        parent = lab.start([sys.executable, "-c", f"import time; time.sleep(1)\n{program}"],
                           lab.preloaded(HELDBY_DUMP_DIR=folder))
        boxes = wait_until(lambda: len(files(folder, ".box")) == 2 and files(folder, ".box"), "two boxes")
        owners = {int(os.path.basename(box).split(".")[1]) for box in boxes}
        check(parent.pid in owners and len(owners) == 2, f"{boxes}")
        os.kill((owners - {parent.pid}).pop(), signal.SIGKILL)
        check(parent.wait().status == 0, parent.err())
        check(len(files(folder, ".box")) == 1, "the child's alone is left")


def test_a_child_whose_fork_was_under_way_when_the_watch_began_has_one_too(lab):
    """What is loaded waits for the fork. The library's handler runs after heldby's own."""
    slow_fork = lab.compile("slow_fork.cc", "slow_fork.so", "-shared", "-fPIC")
    program = "import os, time\ntime.sleep(0.05)\nif os.fork() == 0: time.sleep(100)\nos.wait()"
    with folder_on_disk(lab) as folder:
        environment = lab.preloaded(HELDBY_DUMP_DIR=folder)
        environment["LD_PRELOAD"] += " " + slow_fork
        parent = lab.start([sys.executable, "-c", program], environment)
        boxes = wait_until(lambda: len(files(folder, ".box")) == 2 and files(folder, ".box"), "two boxes")
        for pid in {int(os.path.basename(box).split(".")[1]) for box in boxes} - {parent.pid}:
            os.kill(pid, signal.SIGKILL)
        done = parent.wait()
        check((done.status, done.err) == (0, ""), f"{done.status}: {done.err}")


def test_a_box_of_a_process_with_a_thousand_modules_has_its_sites(lab):
    """The child's watch begins when all of them are there."""
    library = lab.path("library-" + 60 * "x" + ".so")
    with open(library, "wb") as file:
        file.write(bytes(4096))
    program = """
import mmap, os, sys, time
held = bytearray(200 << 20)
file = open(sys.argv[1], "rb")
code = [mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC) for _ in range(900)]
if os.fork() == 0: time.sleep(100)
os.wait()
"""
    with folder_on_disk(lab) as folder:
        parent = lab.start([sys.executable, "-c", program, library], lab.preloaded(HELDBY_DUMP_DIR=folder))
        def box_of_child():
            return [box for box in files(folder, ".box") if int(os.path.basename(box).split(".")[1]) != parent.pid]
        (box,) = wait_until(box_of_child, "the child's box")
        wait_until(lambda: "live heap" in summary_of(lab, box), "a text in it")
        out = lab.path("box.pb.gz")
        lab.run_ok([lab.heldby, "convert", box, out])
        check("left out" not in lab.pprof("-comments", out), "the box is too small")
        check(lab.top(out).total > 190 * MEGA, lab.top(out).text)
        os.kill(int(os.path.basename(box).split(".")[1]), signal.SIGKILL)
        parent.wait()


def switches_of_the_watch(process):
    """How often its thread has gone to sleep."""
    for task in os.listdir(f"/proc/{process.pid}/task"):
        status = read_text(f"/proc/{process.pid}/task/{task}/status")
        if "Name:\theldby-watch\n" in status:
            return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status)[1])
    raise Failure("no thread called heldby-watch")


def test_a_program_that_closes_every_descriptor_keeps_its_own_files(lab):
    """As daemons do. What it opens next has the numbers that the watch had. The folder is a relative one."""
    program = """
import os, sys, time
os.chdir("/")
while not os.listdir(sys.argv[2]): time.sleep(0.1)
os.closerange(3, 4096)
files = [os.open(f"{sys.argv[1]}/own{i}", os.O_RDWR | os.O_CREAT) for i in range(100)]
for fd in files: os.write(fd, b"0123456789")
for fd in files: os.lseek(fd, 5, os.SEEK_SET)
print("opened", flush=True)
sys.stdin.readline()
print([os.lseek(fd, 0, os.SEEK_CUR) for fd in files] == [5] * 100, flush=True)
"""
    with folder_on_disk(lab) as folder:
        process = lab.start([sys.executable, "-c", program, lab.tmp, folder], lab.preloaded(HELDBY_DUMP_DIR="."),
                            stdin=subprocess.PIPE, cwd=folder)
        process.wait_for("opened")
        fill_address_space(process)
        before = switches_of_the_watch(process)
        wait_until(lambda: switches_of_the_watch(process) >= before + 5, "the watch to look", 60)
        process.popen.stdin.close()
        done = process.wait()
        check((done.status, done.out) == (0, "opened\nTrue\n"), f"{done.status}: {done.out}{done.err}")
        for i in range(100):
            content = read_text(lab.path(f"own{i}"))
            check(content == "0123456789", f"own{i} has {content!r}")


def summary_of(lab, path):
    return lab.run([lab.heldby, "convert", "-summary", path]).out


def test_a_box_from_before_exec_goes_with_its_successor(lab):
    """An entry script that takes a while and calls exec: one process, and nobody was killed."""
    with folder_on_disk(lab) as folder:
        script = 'while ! test -e "$1"/*.box; do sleep 0.1; done; echo "$1"/*.box; shift; exec "$@"'
        process = lab.start(["sh", "-c", script, "sh", folder, grows(lab), 1000, 1], lab.preloaded(HELDBY_DUMP_DIR=folder),
                            stdin=subprocess.PIPE)
        process.wait_for(rf"heldby\.{process.pid}\.\w+\.box")
        process.wait_for("grown")
        # The same second is the same name.
        wait_until(lambda: [path for path in files(folder, ".box") if "grows," in summary_of(lab, path)]
                   == files(folder, ".box") != [], "a new box in the place of the old one", 60)
        process.popen.stdin.close()
        check(process.wait().status == 0 and os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def test_processes_that_end_at_once_leave_nothing_and_load_nothing(lab):
    with folder_on_disk(lab) as folder:
        script = "for i in 1 2 3; do /bin/true; done; (exit 0); grep -c libheldby-server /proc/self/maps"
        done = lab.run(["sh", "-c", script], lab.preloaded(HELDBY_DUMP_DIR=folder))
        check(done.out == "0\n" and done.err == "", f"{done.out}{done.err}")
        check(os.listdir(folder) == [], f"left behind: {os.listdir(folder)}")


def test_a_dump_of_the_slow_reader_names_its_peers(lab):
    """Story P1, to its end."""
    content = lab.path("content.bin")
    with open(content, "wb") as file:
        file.truncate(30 * MEGA)
    with folder_on_disk(lab) as folder:
        server = lab.start([lab.bin("download_server"), f"--file={content}", "--listen=127.0.0.1:0",
                            "--debug=127.0.0.1:0", "--mode=leaky"], lab.env(HELDBY_DUMP_DIR=folder))
        port = int(server.wait_for(r"downloads on http://127\.0\.0\.1:(\d+)/")[1])
        debug = server.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        clients = lab.start([lab.bin("stuck_client"), f"--port={port}", "--count=3", "--seconds=200"],
                            stdin=subprocess.PIPE)
        clients.wait_for("stopped reading")

        def stuck():
            return lab.fetch(debug + "/debug/connections")[1].count(b"peer stopped reading")

        wait_until(lambda: stuck() == 3, "three stuck readers")
        wait_until(lambda: files(folder, ".box"), "the watch to begin")
        fill_address_space(server, 0.96)
        wait_until(lambda: files(folder, ".95.heap"), "a dump", 60)
        (path,) = files(folder, ".95.heap")
        summary = lab.run_ok([lab.heldby, "convert", "-summary", path]).out
        rows = re.findall(r"^ *(\d+) +\d+  \d+  (127\.0\.0\.1:\d+), .*peer stopped reading for \d+ s", summary, re.M)
        check(len(rows) == 3 and all(abs(int(held) - 30 * MEGA) < MEGA for held, _ in rows), summary)
        out = lab.path("dump.pb.gz")
        lab.run_ok([lab.heldby, "convert", path, out])
        top = lab.top(out, "-tagroot=peer")
        for _, peer in rows:
            check(abs(top.cum_of(re.escape(peer)) - 30 * MEGA) < MEGA, f"{peer}:\n{top.text}")
        check(top.cum_of("ReadWhole") > 89 * MEGA, top.text)
        focused = lab.top(out, "-tagfocus=route=/download", "-tagfocus=task=download")
        check(focused.total > 89 * MEGA, focused.text)

        def metric(name):
            text = lab.fetch(debug + "/metrics")[1].decode()
            found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
            if not found:
                raise Failure(f"no {name} in\n{text}")
            return float(found[1])

        check(metric('heldby_memory_watch_dumps_total{level="95"}') == 1, "one dump of 95 %")
        check(metric("heldby_memory_watch_running") == 1, "it runs")
        check(metric("heldby_memory_watch_box_writes_total") >= 2, "the box is written")
        clients.popen.stdin.close()


if __name__ == "__main__":
    run(globals())
