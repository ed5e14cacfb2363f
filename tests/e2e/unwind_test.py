"""Our walk beside libgcc's, stack by stack, inside programs that nobody here wrote.

A preloaded observer (tests/unwind/observer.cc) takes each stack twice: at every Nth allocation, and
wherever a timer strikes. The figures in docs/performance.md are what these tests print.
"""

import collections
import os
import re
import signal
import socket

import parked_code
from harness import Failure, check, need, run, wait_until
from servers_test import NGINX, alive, fetch_from, log_of

FIELDS = ("compared", "identical", "truncated", "longer", "different", "wrong3", "absent", "libgccs")


def observed(lab, every=100, timer_us=1000):
    """The environment of a program under the observer, which reports to one file."""
    return lab.env(LD_PRELOAD=os.path.join(lab.build, "tests", "libunwind_observer.so"),
                   UNWIND_REPORT=lab.path("unwind.txt"), UNWIND_EVERY=every, UNWIND_TIMER_US=timer_us)


def check_stacks(lab, program, at_least):
    """99.9 % the same to the root, the rest cut or longer, none different. Prints the figures."""
    with open(lab.path("unwind.txt"), encoding="utf-8", errors="replace") as file:
        report = file.read()
    totals = {kind: collections.Counter() for kind in ("allocating", "interrupted")}
    for line in re.findall(rf"^stacks {re.escape(program)} (.*)$", report, re.MULTILINE):
        kind, *numbers = line.split()
        if kind in totals:
            totals[kind].update(dict(zip(FIELDS, map(int, numbers), strict=True)))
    for kind, count in totals.items():
        print(f"| {program} | {kind} | " + " | ".join(f"{count[field]:,}" for field in FIELDS) + " |")
        told = f"{program}, {kind}: {dict(count)}\n{report[:6000]}"
        check(count["compared"] >= at_least, f"fewer than {at_least} stacks compared: {told}")
        check(count["different"] == 0, f"a stack differs from libgcc's: {told}")
        check(count["identical"] >= 0.999 * count["compared"], f"less than 99.9 % are the same: {told}")
        check(count["absent"] <= 0.001 * count["compared"], f"nothing to compare with: {told}")


def test_every_stack_of_clang_compiling_is_libgccs(lab):
    source = os.path.join(lab.programs, "readable_names.cc")
    for flags in (["-O2"], ["-O0", "-g"]):
        lab.run_ok([need("clang++"), "-std=c++20", *flags, f"-I{lab.source}/include", "-c", source, "-o",
                    lab.path("compiled.o")], env=observed(lab, every=20, timer_us=300), seconds=120)
    check_stacks(lab, "clang++", at_least=1000)


PYTHON_HOST = """
import collections, decimal, json, re, sqlite3, subprocess, threading, xml.etree.ElementTree as tree, zlib
def work():
    for i in range(150):
        json.loads(json.dumps({'a': [1, 2, {'b': list(range(50))}] * 20}))
        re.findall(r'(\\w+)\\s(\\d+)', 'abc 12 def 34' * 50)
        zlib.compress(bytes(range(256)) * 40)
        tree.fromstring('<a>' + '<b c="d">e</b>' * 50 + '</a>')
        decimal.Decimal(i).sqrt()
        sorted(range(300), key=lambda x: -x)
        try: {}['missing']
        except KeyError: pass
    base = sqlite3.connect(':memory:')
    base.execute('create table t(a, b)')
    base.executemany('insert into t values(?, ?)', ((i, str(i)) for i in range(500)))
    list(base.execute('select b, count(*) from t group by b order by a desc'))
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(subprocess.check_output(['/bin/ls', '/']).count(b'usr'))
"""


def test_every_stack_of_python3_is_libgccs(lab):
    done = lab.run_ok(["/usr/bin/python3", "-c", PYTHON_HOST], env=observed(lab, every=5, timer_us=300))
    check(done.out == "1\n", f"python3 does not do its work: {done.out}{done.err}")
    check_stacks(lab, "python3", at_least=500)


def test_every_stack_of_redis_under_load_is_libgccs(lab):
    sock = lab.path("redis.sock")
    server = lab.start([need("redis-server"), "--port", "0", "--unixsocket", sock, "--save", "", "--appendonly", "no",
                        "--dir", lab.tmp], env=observed(lab, every=50, timer_us=500))
    wait_until(lambda: os.path.exists(sock), "redis to listen")
    load = lab.run_ok([need("redis-benchmark"), "-s", sock, "-n", "20000", "-c", "20", "-d", "200", "-r", "5000", "-q",
                       "-t", "set,get,lpush,zadd,mset"])
    check("requests per second" in load.out, f"redis-benchmark:\n{load.out}{load.err}")
    script = "local t = {} for i = 1, 2000 do t[i] = cjson.encode({i, tostring(i)}) end return #table.concat(t)"
    for _ in range(20):
        lab.run_ok([need("redis-cli"), "-s", sock, "eval", script, "0"])
    check(server.stop().status == 0, "redis did not end well")
    check_stacks(lab, "redis-server", at_least=500)


def test_every_stack_of_nginx_under_load_is_libgccs(lab):
    os.mkdir(lab.path("www"))
    os.chmod(lab.tmp, 0o755)
    with open(lab.path("www/file.txt"), "w", encoding="ascii") as file:
        file.write("a line of text to compress\n" * 20000)
    with open(lab.path("nginx.conf"), "w", encoding="ascii") as file:
        file.write("user root;\n" + NGINX.format(tmp=lab.tmp, daemon="off"))
    lab.start([need("nginx"), "-e", lab.path("error.log"), "-c", lab.path("nginx.conf")],
              env=observed(lab, every=1, timer_us=500))
    wait_until(lambda: os.path.exists(lab.path("nginx.pid")) and open(lab.path("nginx.pid")).read().strip(), "nginx")
    master = int(open(lab.path("nginx.pid"), encoding="ascii").read())
    wait_until(lambda: os.path.exists(lab.path("nginx.sock")), "nginx to listen")
    for _ in range(300):
        check(len(fetch_from(lab.path("nginx.sock"), "/file.txt")) > 100, "nginx serves an empty file")
    os.kill(master, signal.SIGQUIT)
    wait_until(lambda: not alive(master), "nginx to end")
    check("exited on signal" not in log_of(lab), f"nginx complains:\n{log_of(lab)}")
    check_stacks(lab, "nginx", at_least=300)


def test_every_stack_of_code_compiled_in_any_way_is_libgccs(lab):
    # Exceptions in flight, at every allocation; the timer strikes in the unwinding itself.
    sums = set()
    for compiler, *flags in (("g++", "-O0"), ("g++", "-O2"), ("g++", "-O3", "-fno-omit-frame-pointer"),
                             ("clang++", "-O0", "-fomit-frame-pointer"), ("clang++", "-O3"),
                             ("clang++", "-O2", "-fno-omit-frame-pointer")):
        program = lab.compile("thrower.cc", "thrower", "-pthread", *flags, compiler=compiler)
        sums.add(lab.run_ok([program, 10], env=observed(lab, every=41, timer_us=300)).out)
    check(len(sums) == 1, f"the observer changes what the program computes: {sums}")
    check_stacks(lab, "thrower", at_least=1000)


def test_libraries_come_and_go_and_throw_for_a_minute_while_profiles_are_fetched(lab):
    plugin = lab.compile("throwing_plugin.cc", "throwing_plugin.so", "-shared", "-fPIC")
    program = lab.compile("dl_storm.cc", "dl_storm", "-pthread", "-ldl")
    process = lab.start([program, plugin, 60], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=1))
    address = lab.served_address(process.pid)
    fetched = 0
    while process.popen.poll() is None:
        try:
            status, body = lab.fetch(address + "/debug/pprof/heap")
        except OSError:
            break  # it ends
        check(status == 200 and len(body) > 100, f"status {status}, {len(body)} bytes")
        fetched += 1
    done = process.wait(120)
    check(done.status == 0 and done.err == "", f"ended with {done.status}: {done.out}{done.err}")
    check(int(done.out) > 100 and fetched > 20, f"{done.out.strip()} loads, {fetched} profiles: too few to show anything")
    print(f"{done.out.strip()} times loaded, thrown five times, unloaded; {fetched} profiles")


def test_gdb_names_the_same_frames(lab):
    program = lab.compile("shows_its_stack.cc", "shows_its_stack", "-O2", "-fomit-frame-pointer", "-pthread",
                          f"-I{lab.source}/lib", os.path.join(lab.build, "lib", "core", "libheldby_core_tables.a"))
    process = lab.start([program])
    process.wait_for(r"(?m)^end$")
    ours = [int(word, 16) for word in re.findall(r"(?m)^frame (0x[0-9a-f]+)$", process.out())]
    check(len(ours) > 10, f"no stack to compare:\n{process.out()}")
    text = lab.run_ok([need("gdb"), "-batch", "-nx", "-p", process.pid, "-ex", "set print frame-arguments none",
                       "-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry off",
                       "-ex", "thread apply 1 bt -frame-info location-and-address -frame-arguments none"], seconds=120)
    # Inlined frames have no address of their own in gdb's list: those of real calls follow ours.
    theirs = [int(word, 16) for word in re.findall(r"(?m)^#\d+\s+(0x[0-9a-f]+) in ", text.out)]
    missing = [hex(pc) for pc in ours if pc not in theirs]
    check(not missing, f"gdb does not have the frames {missing}\n{process.out()}\n{text.out}{text.err}")
    order = [theirs.index(pc) for pc in ours]
    check(order == sorted(order), f"gdb has them in another order\n{process.out()}\n{text.out}")
    process.stop(signal.SIGKILL)


def check_parked_stacks(lab, compiler, ways):
    """Threads parked below generated functions: whole, from where they wait. From each frame on, without its rbp: as
    libgcc has it or cut. Cut are the functions that take a computed piece of stack, realign it, or run in a part of
    theirs laid elsewhere: two shapes of sixteen, libc's qsort, and with g++ the handlers of exceptions."""
    parked_code.write(lab.path("generated.inc"), seed=len(compiler))
    for way in ways:
        program = lab.compile("parked_chain.cc", "parked_chain", *way.split(), "-fno-omit-frame-pointer", "-fwrapv",
                              "-pthread", f"-I{lab.source}/lib", f"-DGENERATED=\"{lab.path('generated.inc')}\"",
                              os.path.join(lab.build, "lib", "core", "libheldby_core_tables.a"), compiler=compiler)
        out = lab.run_ok([program, 8], seconds=120).out
        found = dict(re.findall(r"(?m)^(stacks|frames|ns) ([\d ]+)$", out))
        stacks, whole, *_ = map(int, found["stacks"].split())
        frames, from_frame, cut, wrong = map(int, found["frames"].split())
        print(f"| {compiler} {way} | {whole} of {stacks} | {from_frame:,} of {frames:,} | {cut} | {wrong} |")
        check(stacks == whole == 64, f"{way}: not every stack is whole:\n{out[:6000]}")
        check(wrong == 0, f"{way}: a stack differs from libgcc's:\n{out[:6000]}")
        check(frames > 1000 and from_frame >= 0.75 * frames, f"{way}: too many are cut:\n{out[:6000]}")


def test_parked_stacks_of_code_by_gxx_with_frame_pointers_are_libgccs(lab):
    check_parked_stacks(lab, "g++", ("-O0", "-O1", "-O2 -fstack-protector-all", "-O3 -fno-plt", "-Os",
                                     "-O2 -fstack-clash-protection -fcf-protection=full"))


def test_parked_stacks_of_code_by_clang_with_frame_pointers_are_libgccs(lab):
    check_parked_stacks(lab, "clang++", ("-O0", "-O1", "-O2 -fstack-protector-all", "-O3", "-Oz",
                                         "-O2 -fstack-clash-protection"))


def check_waiting_threads(lab, program, mode, clients, waiting):
    """Every thread is where `waiting` says, (pattern, threads), and no stack is cut."""
    env = lab.env(HELDBY_LISTEN="127.0.0.1:0", HELDBY_THREAD_SIGNAL="0")
    server = lab.start([lab.heldby, "run", "--", program, mode, 1000], env=env)
    port = int(server.wait_for(r"port (\d+)")[1])
    address = lab.served_address(server.pid)
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(clients)]
    tops = []

    def all_wait():
        tops.append(lab.top(address + "/debug/pprof/goroutine"))
        return all(tops[-1].cum_of(pattern) == count for pattern, count in waiting)

    try:
        wait_until(all_wait, f"{waiting} to be where the threads wait")
    except Failure as failure:
        raise Failure(f"{failure}\n{tops[-1].text}") from None
    _, text = lab.fetch(address + "/debug/pprof/goroutine?debug=2")
    check(b"only the thread itself knows" not in text, f"a stack is cut:\n{text.decode()}")
    for client in sockets:
        client.close()
    server.stop()


def test_a_server_with_frame_pointers_is_named_where_its_threads_wait(lab):
    for compiler, *way in (("g++", "-O2"), ("clang++", "-O0")):
        program = lab.compile("plain_server.cc", "plain_server", *way, "-fno-omit-frame-pointer", "-pthread",
                              compiler=compiler)
        check_waiting_threads(lab, program, "threads", 7,
                              [(r"ServeBlocking", 7), (r"AcceptOne", 1), (r"^main$", 1)])
        check_waiting_threads(lab, program, "epoll", 0, [(r"Loop::Run", 1), (r"^main$", 1)])


if __name__ == "__main__":
    run(globals())
