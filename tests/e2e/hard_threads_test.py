"""Threads that end in the middle of what is wrapped, and exceptions that pass through it."""

import signal

from harness import check, run

EVERY_WAIT = {"HELDBY_BLOCK_PROFILE_RATE": "1", "HELDBY_MUTEX_PROFILE_FRACTION": "1"}
ALLOCATORS = ("", ":libtcmalloc.so.4", ":libjemalloc.so.2", ":libmimalloc.so.2")


def thread_ends(lab):
    return lab.compile("thread_ends.cc", "thread_ends", "-pthread", "-fno-builtin")


def as_without_us(lab, argv, allocator="", **settings):
    """Ends as it does without us, with the same output; returns how."""
    beneath = allocator.removeprefix(":")
    plain = lab.run(argv, env=lab.env(LD_PRELOAD=beneath) if beneath else lab.env(), seconds=120)
    env = lab.preloaded(HELDBY_SAMPLE_BYTES=1, **settings)
    env["LD_PRELOAD"] += allocator
    done = lab.run(argv, env=env, seconds=120)
    check((done.status, done.out, done.err) == (plain.status, plain.out, plain.err),
          f"{argv} over {beneath or 'glibc'}: {done.status}, without us {plain.status}\n{done.out}{done.err}{plain.err}")
    return done


def check_ends_well(lab, argv, **settings):
    done = as_without_us(lab, argv, **settings)
    check((done.status, done.out, done.err) == (9, "done\n", ""), f"{argv}: {done.status}\n{done.out}{done.err}")


def test_threads_are_cancelled_in_every_wrapped_call_as_ever(lab):
    check_ends_well(lab, [thread_ends(lab), "cancel"])
    check_ends_well(lab, [thread_ends(lab), "cancel"], **EVERY_WAIT)


def test_threads_that_exit_deep_in_their_stack_run_every_destructor(lab):
    check_ends_well(lab, [thread_ends(lab), "exit"], **EVERY_WAIT)


def test_ten_thousand_threads_come_and_go(lab):
    check_ends_well(lab, [thread_ends(lab), "many"], HELDBY_LISTEN="127.0.0.1:0")


def test_exceptions_of_a_new_handler_pass_through_operator_new_of_every_allocator(lab):
    program = thread_ends(lab)
    for allocator in ALLOCATORS:
        as_without_us(lab, [program, "new"], allocator=allocator)
    check_ends_well(lab, [program, "new"])


def test_an_exception_that_nobody_catches_in_a_thread_aborts_as_ever(lab):
    done = as_without_us(lab, [thread_ends(lab), "terminate"])
    check(done.status == -signal.SIGABRT, f"{done.status}")


if __name__ == "__main__":
    run(globals())
