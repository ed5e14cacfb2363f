"""What hosts do to a preloaded library: each must end as it does without one."""

import urllib.error

from harness import check, run, wait_until


def hard_host(lab, *flags):
    return lab.compile("hard_host.cc", "hard_host", "-pthread", "-ldl", *flags)


def check_ends_well(lab, argv, out="done\n", **settings):
    """Status 9 and its own output, nothing on stderr; returns the profile it left."""
    settings.setdefault("HELDBY_LISTEN", "127.0.0.1:0")
    process = lab.start(argv, env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"),
                                                **settings))
    done = process.wait(120)
    check((done.status, done.out, done.err) == (9, out, ""), f"{argv}: {done.status}\n{done.out}{done.err}")
    return lab.path(f"{process.pid}.pb.gz")


def test_fork_under_load_leaves_working_children(lab):
    check_ends_well(lab, [hard_host(lab), "fork"])


def test_a_child_forked_in_the_first_millisecond_can_load_libraries(lab):
    # While our thread loads the server library, the loader is not to be forked; nor while the
    # first look at parked threads has its lock, which was so in one of fifty.
    program = lab.compile("forks_at_once.cc", "forks_at_once", "-ldl")
    for _ in range(200):
        process = lab.start([program], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0"))
        done = process.wait(20)
        check((done.status, done.out, done.err) == (0, "0\n", ""), f"{done.status}\n{done.out}{done.err}")


def test_a_library_that_was_unloaded_keeps_its_stacks_readable(lab):
    plugin = lab.compile("plugin.cc", "plugin.so", "-shared", "-fPIC")
    top = lab.top(check_ends_well(lab, [hard_host(lab), "plugin", plugin]), "-sample_index=inuse_space")
    top.check_every_frame_has_a_name()
    check(top.cum_of(r"LoadAndUnload") >= 200 * 7000, f"the plugin's memory is missing\n{top.text}")


def test_unloaded_code_is_not_given_the_name_of_what_is_loaded_in_its_place(lab):
    plugins = [lab.compile("twin_plugin.cc", f"{name}.so", "-shared", "-fPIC", f"-DFUNCTION={name}")
               for name in ("LeakInFirst", "NeverCalled")]
    program = lab.compile("replaces_plugin.cc", "replaces_plugin", "-ldl")
    dump = lab.path("replaced.pb.gz")
    done = lab.run([program, *plugins], env=lab.preloaded(HELDBY_DUMP_AT_EXIT=dump, HELDBY_SAMPLE_BYTES=1))
    check((done.status, done.out, done.err) == (0, "same place\n", ""), f"{done.status}\n{done.out}{done.err}")
    top = lab.top(dump, "-sample_index=inuse_space")
    check(top.cum_of(r"NeverCalled") == 0, f"a function that was never called is blamed\n{top.text}")
    check(top.cum_of(r"unloaded code") >= 40 << 20, f"the memory of the library that is gone is missing\n{top.text}")


def test_a_hundred_thousand_exceptions_pass_through(lab):
    check_ends_well(lab, [hard_host(lab), "throw"])


def test_allocations_in_thread_exit_and_static_destructors_are_fine(lab):
    top = lab.top(check_ends_well(lab, [hard_host(lab), "threads"]), "-sample_index=alloc_space")
    check(top.cum_of(r"InThreadExit") > 0, f"thread exit is not seen\n{top.text}")
    check(top.cum_of(r"BeforeAndAfterMain|_GLOBAL__sub_I|static_initialization") >= 10000,
          f"static constructors are not seen\n{top.text}")


def test_a_program_that_takes_the_address_of_malloc_is_profiled(lab):
    top = lab.top(check_ends_well(lab, [hard_host(lab, "-no-pie", "-fno-pie"), "address"]), "-sample_index=alloc_space")
    check(top.cum_of(r"MallocByAddress") > 0, f"malloc by its address is not seen\n{top.text}")


def test_a_host_that_overwrites_its_environment_runs_on(lab):
    check_ends_well(lab, [hard_host(lab), "environment"])


def test_a_host_that_closes_every_file_runs_on(lab):
    check_ends_well(lab, [hard_host(lab), "close"])


def test_exit_from_a_thread_while_being_scraped_ends_the_host(lab):
    process = lab.start([hard_host(lab), "exit"], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_LOG="info"))
    address = process.wait_for(r"serves (http://\S+?)/debug")[1]

    def scraped_until_the_end():
        try:
            lab.fetch(address + "/debug/pprof/heap")
        except (urllib.error.URLError, OSError):
            pass
        return process.popen.poll() is not None

    wait_until(scraped_until_the_end, "the host to end", 20, pause_s=0)
    done = process.wait(1)
    check((done.status, done.out) == (9, "done\n"), f"{done.status}\n{done.out}{done.err}")


def test_an_executable_with_its_own_allocator_is_left_alone(lab):
    for archive in ("libjemalloc.a", "libtcmalloc_minimal.a"):
        path = lab.run_ok(["g++", f"-print-file-name={archive}"]).out.strip()
        program = lab.compile("foreign_malloc.cc", "foreign_malloc", "-fno-builtin", "-Wno-mismatched-new-delete",
                              "-Wl,--whole-archive", path, "-Wl,--no-whole-archive", "-pthread", "-ldl")
        done = lab.run([program], env=lab.preloaded(HELDBY_SAMPLE_BYTES=1))
        check((done.status, done.out) == (0, "done\n"), f"{archive}: {done.status}\n{done.out}{done.err}")
        lines = done.err.splitlines()
        check(len(lines) == 1 and "stand down" in lines[0], f"{archive}: not one clear line\n{done.err}")
        why = lines[0].partition("stand down: ")[2]
        done = lab.run([program], env=lab.preloaded(HELDBY_DUMP_AT_EXIT=lab.path("none.pb.gz")))
        check((done.status, done.out, done.err.count(why)) == (0, "done\n", 2), f"{archive}: {done}")


def test_glibcs_debugging_malloc_checks_on_beneath_us(lab):
    usable = ("import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; "
              "print(libc.malloc_usable_size(ctypes.c_void_p(libc.malloc(7))))")
    for preload, size in ((f"{lab.core}:libc_malloc_debug.so.0", "7\n"), (lab.core, "24\n")):
        done = lab.run(["/usr/bin/python3", "-c", usable], env=lab.env(LD_PRELOAD=preload, MALLOC_CHECK_=3))
        check((done.status, done.out, done.err) == (0, size, ""), f"{preload}: {done.status}\n{done.out}{done.err}")
    # Its lock is none that fork knows of: there must not be a second thread that may hold it.
    forks = "import os; [os.waitpid(os.fork() or os._exit(0), 0) for _ in range(200)]; print(len(os.listdir('/proc/self/task')))"
    done = lab.run(["/usr/bin/python3", "-c", forks], env=lab.env(LD_PRELOAD=f"{lab.core}:libc_malloc_debug.so.0", MALLOC_CHECK_=3,
                                                                  HELDBY_LISTEN="127.0.0.1:0"))
    check((done.status, done.out) == (0, "1\n"), f"{done.status}\n{done.out}{done.err}")
    check("no endpoint and no watch over libc_malloc_debug.so" in done.err and len(done.heldby_lines()) == 1, done.err)


def test_operators_that_a_host_replaces_by_half_are_seen_over_every_allocator(lab):
    for library in ("tcmalloc", "jemalloc", "mimalloc"):
        for name, flags in (("half", ()), ("address", ("-no-pie", "-fno-pie", "-DADDRESS"))):
            program = lab.compile("half_operators.cc", name, *flags, "-Wl,--no-as-needed", f"-l{library}")
            dump = lab.path(f"{library}.{name}.pb.gz")
            done = lab.run([program], env=lab.preloaded(HELDBY_DUMP_AT_EXIT=dump))
            check((done.status, done.out, done.err) == (0, "done\n", ""), f"{library} {name}: {done}")
            held = lab.top(dump, "-sample_index=inuse_space").cum_of(r"HoldByArrayNew")
            check(abs(held / (100 << 20) - 1) < 0.25, f"{library} {name}: {held} bytes of {100 << 20}")


def test_a_stack_walk_does_not_trust_what_was_readable_once(lab):
    program = lab.compile("shrunk_fiber.cc", "shrunk_fiber")
    done = lab.run([program], env=lab.preloaded(HELDBY_SAMPLE_BYTES=1))
    check((done.status, done.out, done.err) == (0, "done\n", ""), f"{done.status}\n{done.out}{done.err}")


def test_a_pool_behind_operator_new_gets_all_its_blocks_back(lab):
    program = lab.compile("own_new.cc", "own_new")
    # Without an endpoint: its thread would hold a few objects of its own, which in such a host come from the pool.
    check_ends_well(lab, [program], out="live=0 foreign=0\n", HELDBY_LISTEN="")


if __name__ == "__main__":
    run(globals())
