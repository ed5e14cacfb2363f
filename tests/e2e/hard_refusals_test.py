"""malloc says no exactly as it does without us: call by call, with errno."""

from harness import check, run

ALLOCATORS = ("", "libtcmalloc.so.4", "libjemalloc.so.2", "libmimalloc.so.2")
# Of 512 MiB of address space: the libraries, and the tables of a process with a few hundred samples.
OURS_MIB = 64


def failing_calls(lab):
    return lab.compile("failing_calls.cc", "failing_calls", "-fno-builtin", "-Wno-alloc-size-larger-than")


def over(lab, allocator, **settings):
    env = lab.preloaded(**settings) if settings else lab.env(LD_PRELOAD=allocator)
    if settings and allocator:
        env["LD_PRELOAD"] += ":" + allocator
    return env


def test_every_refusal_of_every_allocator_is_the_same_with_us(lab):
    program = failing_calls(lab)
    for allocator in ALLOCATORS:
        argv = [program, "plain"] if allocator else [program]
        plain = lab.run(argv, env=over(lab, allocator))
        check(plain.status == 0 and plain.out.count("\n") > 300, f"{allocator}: {plain.status}\n{plain.err}")
        for distance in (1, 4096, 524288):
            done = lab.run(argv, env=over(lab, allocator, HELDBY_SAMPLE_BYTES=distance))
            theirs, ours = plain.out.splitlines(), done.out.splitlines()
            other = [f"{one}   without us: {two}" for one, two in zip(ours, theirs) if one != two]
            check(done.status == plain.status and not other and len(ours) == len(theirs),
                  f"{allocator or 'glibc'} at {distance}: {done.status}, {len(ours)} lines of {len(theirs)}\n"
                  + "\n".join(other[:40]) + done.err)


def test_a_host_at_its_limit_of_address_space_is_refused_as_ever(lab):
    program = failing_calls(lab)
    plain = lab.run_ok([program, "limit"])
    for settings in ({"HELDBY_SAMPLE_BYTES": 1}, {"HELDBY_SAMPLE_BYTES": 524288}):
        done = lab.run_ok([program, "limit"], env=lab.preloaded(**settings))
        check(done.out == plain.out, f"{settings}:\n{done.out}without us:\n{plain.out}")
        check(int(plain.err) - int(done.err) <= OURS_MIB,
              f"{settings}: {done.err.strip()} MiB of address space for the host, {plain.err.strip()} without us")


if __name__ == "__main__":
    run(globals())
