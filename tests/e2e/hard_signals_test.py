"""Signals that arrive at the worst moment: the host's own, in the middle of what is wrapped."""

from harness import check, run


def storm(lab):
    return lab.compile("signal_storm.cc", "signal_storm", "-pthread", "-ldl")


def check_ends_well(lab, argv, during=None, **settings):
    """Status 9 and its own output, nothing on stderr; `during(process)` runs beside it."""
    process = lab.start(argv, env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, **settings))
    if during:
        during(process)
    done = process.wait(120)
    check((done.status, done.out, done.err) == (9, "done\n", ""), f"{argv}: {done.status}\n{done.out}{done.err}")
    return process


def profile_twice(lab):
    """Takes processor time and stacks, by signals of ours beside those of the host."""

    def during(process):
        url = lab.served_address(process.pid)
        for path in ("/debug/pprof/profile?seconds=1", "/debug/pprof/goroutine?debug=2"):
            if process.popen.poll() is None:
                try:
                    lab.fetch(url + path)
                except OSError:
                    pass  # the host has ended meanwhile

    return during


def test_signals_that_arrive_inside_malloc_change_nothing(lab):
    check_ends_well(lab, [storm(lab), "allocate"])
    check_ends_well(lab, [storm(lab), "allocate"], HELDBY_BLOCK_PROFILE_RATE=1, HELDBY_MUTEX_PROFILE_FRACTION=1)


def test_signals_that_arrive_inside_dlopen_change_nothing(lab):
    plugin = lab.compile("plugin.cc", "plugin.so", "-shared", "-fPIC")
    check_ends_well(lab, [storm(lab), "load", plugin])
    check_ends_well(lab, [storm(lab), "load", plugin], profile_twice(lab), HELDBY_LISTEN="127.0.0.1:0")


def test_a_thread_whose_handler_jumps_out_of_accept_is_sampled_on(lab):
    process = check_ends_well(lab, [storm(lab), "accept"], HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"))
    top = lab.top(lab.path(f"{process.pid}.pb.gz"), "-sample_index=inuse_space")
    held = top.cum_of(r"HoldAfterJumps")
    check(held == 64 << 20, f"{held} of {64 << 20} bytes are seen\n{top.text}")


if __name__ == "__main__":
    run(globals())
