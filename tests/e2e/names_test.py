"""Every kind of C++ function keeps a name that people can read."""

import re
import subprocess

from harness import check, read_text, run, wait_until

EXPECTED = {
    "a member of a class template": r"^shop::Cache<.*>::Insert\b|^shop::Cache::Insert\b",
    "a constructor": r"^shop::Order::Order\b",
    "a static member function": r"^shop::Order::Reload\b",
    "a call operator": r"^shop::Order::operator\(\)",
    "a lambda, by the function around it": r"^shop::RunLambda\b.*(lambda|operator\(\))",
    "a std::function, by its lambda": r"^(shop::)?RunFunction\b.*(lambda|operator\(\))",
    "a function of an unnamed namespace": r"^shop::(\(anonymous namespace\)::)?Hidden\b",
    "the standard library": r"^std::(function<void \(\)>::operator\(\)|_Function_handler)",
    "the program's entry": r"^main$",
}


def serve(lab):
    program = lab.compile("readable_names.cc", "readable_names", *lab.linked_flags())
    process = lab.start([program], env=lab.env(HELDBY_SAMPLE_BYTES=1), stdin=subprocess.PIPE)
    return process.wait_for(r"serves (\S+)")[1]


def test_templates_lambdas_and_members_have_readable_names(lab):
    top = lab.top(serve(lab))
    top.check_every_frame_has_a_name()
    for what, pattern in EXPECTED.items():
        check(any(re.search(pattern, name) for name in top.names()),
              f"{what}: no row matches /{pattern}/\n{top.text}")
    for name in top.names():
        check(not name.startswith("_Z"), f"a mangled name: {name}\n{top.text}")


def test_a_program_whose_main_thread_has_ended_keeps_its_names_and_stacks(lab):
    process = lab.start([lab.compile("main_exits.cc", "main_exits", "-pthread", "-g")],
                        env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=4096),
                        stdin=subprocess.PIPE)
    process.wait_for("ready")
    address = lab.served_address(process.pid)
    process.popen.stdin.close()
    wait_until(lambda: "State:\tZ" in read_text(f"/proc/{process.pid}/status"), "the main thread to end")
    top = lab.top(address + "/debug/pprof/heap")
    check(top.cum_of("HoldsMemory") > 15e6, f"who holds the memory?\n{top.text}")
    status, body = lab.fetch(address + "/debug/pprof/goroutine?debug=2")
    for word in (b"[pause]", b"Works", b"start_thread", b"created by main"):
        check(status == 200 and word in body, f"no {word} in\n{body.decode()}")


def test_every_allocation_is_counted_exactly_at_distance_one(lab):
    top = lab.top(serve(lab))
    # Cache, Order::Order, Reload, operator(), two from the lambda, std::function, Hidden; and the eight pointers
    # that the vector has room for.
    expected = 4000 + 5000 + 6000 + 7000 + 2 * 8000 + 9000 + 10000 + 8 * 8
    allocated = top.cum_of(r"^shop::Keep\b")
    check(allocated == expected, f"Keep allocated {expected} bytes, the profile says {allocated}\n{top.text}")
    check(top.cum_of(r"^main$") >= expected, f"stacks end before main\n{top.text}")


if __name__ == "__main__":
    run(globals())
