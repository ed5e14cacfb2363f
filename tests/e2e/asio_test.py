"""Story P2: 200 answers that nobody closes, in a client that was written with Boost.Asio."""

import collections
import json
import re
import subprocess

from harness import check, run, wait_until

CALLS = 200


class Client:
    """examples/leaky_client, after its calls."""

    def __init__(self, lab, mode):
        self.lab = lab
        self.process = lab.start([lab.bin("leaky_client"), f"--calls={CALLS}", f"--mode={mode}",
                                  "--listen=127.0.0.1:0", "--seconds=240"], stdin=subprocess.PIPE)
        self.debug = self.process.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
        self.process.wait_for(rf"{CALLS} calls made, {CALLS} healthy", 60)

    def page(self, name):
        status, body = self.lab.fetch(f"{self.debug}/debug/{name}?format=json&limit=10000")
        check(status == 200, f"/debug/{name} answers {status}: {body[:300]}")
        return json.loads(body)

    def tasks(self):
        """Its coroutines; the page has its threads, too."""
        return [row for row in self.page("tasks")["tasks"] if row["kind"] == "task"]

    def end(self):
        self.process.popen.stdin.close()
        check(self.process.wait().status == 0, self.process.err())


def test_each_answer_that_nobody_closes_leaves_a_connection_and_two_coroutines(lab):
    client = Client(lab, "leak")
    # The last of them may still be on its way to where it waits.
    parked = wait_until(lambda: all(task["state"] == "chan receive" for task in client.tasks())
                        and client.tasks(), "all loops to wait")
    counted = collections.Counter(task["name"] for task in parked)
    check(counted == {"read loop": CALLS, "write loop": CALLS}, f"tasks: {counted}")
    for task in parked:
        check("leaky_client.cc:" in task["made_at"] and "Loop" in task["at"] and task["connection"], task)
    connections = client.page("connections")["connections"]
    check(len(connections) == CALLS, f"{len(connections)} connections")
    for row in connections:
        check(row["direction"] == "out" and re.fullmatch(r"127\.0\.0\.1:\d+", row["peer"]), row)
        check("heldby::" not in row["opened_by"], f"our own code is said to have opened it: {row}")
    goroutines = lab.top(f"{client.debug}/debug/pprof/goroutine")
    for loop in ("ReadLoop", "WriteLoop"):
        check(goroutines.cum_of(rf"PersistentConnection::{loop}\(\)$") == CALLS, goroutines.text)
    opened = lab.top(f"{client.debug}/debug/pprof/connections")
    check(opened.cum_of(r"CheckHealth") == CALLS, f"who forgot to close is not named:\n{opened.text}")
    client.end()


def test_answers_that_are_closed_leave_nothing(lab):
    client = Client(lab, "fixed")
    wait_until(lambda: not client.tasks(), "no task to be left")
    wait_until(lambda: not client.page("connections")["connections"], "no connection to be left")
    client.end()


def test_a_client_of_asio_runs_as_ever_without_the_core(lab):
    # Every call of the registry does nothing then.
    other = lab.compile("other_core.cc", "libother.so", "-shared", "-fPIC")
    done = lab.run([lab.bin("leaky_client"), "--calls=5", "--mode=fixed", "--listen=127.0.0.1:0"],
                   env=lab.env(LD_PRELOAD=other))
    check(done.status == 0 and "5 calls made, 5 healthy" in done.out, f"{done.status} {done.out}{done.err}")


if __name__ == "__main__":
    run(globals())
