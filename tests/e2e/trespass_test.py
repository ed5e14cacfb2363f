"""Who may not ask: other sites' pages, rebound names, guessers of tokens; and secrets and sockets that are none."""

import contextlib
import os
import random
import subprocess
import urllib.request

from attacked_host import PATIENCE_S, Host, status_of, under
from harness import check, read_text, run, wait_until

TOKEN = "correct-horse-battery-staple"


def test_another_sites_pages_and_rebound_names_get_nothing(lab):
    host = Host(lab)
    own = f"127.0.0.1:{host.port}"
    get = "GET /debug/pprof/heap?debug=1 HTTP/1.1\r\n"
    foreign = [get + f"Host: {name}\r\n" for name in
               ("evil.example", f"evil.example:{host.port}", "127.0.0.1.evil.example", "localhost.evil.example", "",
                f"{own}@evil.example", "evil.example#localhost", "[::1]evil.example", "0x7f000001", "169.254.169.254")]
    foreign += [get + f"Host: {own}\r\nOrigin: {origin}\r\n" for origin in
                ("http://evil.example", "null", "", f"http://{own}.evil.example", f"https://{own}", "file://")]
    foreign += [get + f"Host: {own}\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n"
                for site in ("cross-site", "same-site")]
    foreign += [f"GET http://evil.example/debug/pprof/heap?debug=1 HTTP/1.1\r\nHost: {own}\r\n",
                f"POST /debug/pprof/block?rate=1 HTTP/1.1\r\nHost: {own}\r\nOrigin: http://evil.example\r\n",
                get + f"Host: {own}\r\nHost: evil.example\r\n"]

    def refused(request):
        answer = host.surely(request.encode() + b"Connection: close\r\n\r\n")
        if status_of(answer) != 503:
            check(status_of(answer) in (400, 403), f"{request!r}: {answer[:300]!r}")
        check(b"heap profile" not in answer and b"Access-Control" not in answer, f"{request!r}: {answer[:300]!r}")

    for request in foreign:
        refused(request)
    for request in (get + f"Host: {own}\r\n", get + f"Host: {own}\r\nOrigin: http://{own}\r\n",
                    get + f"Host: localhost:1\r\nSec-Fetch-Site: none\r\n"):
        answer = host.surely(request.encode() + b"Connection: close\r\n\r\n")
        check(status_of(answer) == 200, f"{request!r}: {answer[:300]!r}")
    rate = host.surely(f"POST /debug/pprof/block?rate=0 HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n".encode())
    check(b"before: 0\n" in rate, f"a foreign page has set a rate: {rate!r}")
    under(host, lambda number, stop: refused(random.choice(foreign)))


def secret(lab, text=TOKEN + "\n", mode=0o600, name="token"):
    path = lab.path(name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def test_guessing_a_token_tells_nothing(lab):
    host = Host(lab, HELDBY_TOKEN_FILE=secret(lab))
    guesses = ["", "Authorization: Bearer\r\n", "Authorization: Bearer x\r\n", f"Authorization: Basic {TOKEN}\r\n",
               f"Authorization: {TOKEN}\r\n", f"Authorization: Bearer {TOKEN}x\r\n",
               f"Authorization: Bearer {TOKEN[:-1]}\r\n",
               f"Authorization: Bearer {TOKEN}{TOKEN}\r\n", f"Authorization: Bearer {TOKEN.upper()}\r\n",
               f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n", f"Cookie: token={TOKEN}\r\n",
               f"X-Authorization: Bearer {TOKEN}\r\n", "Authorization: Bearer " + TOKEN[0] * 4000 + "\r\n"]
    lines = ["GET /debug/pprof/heap", "GET /debug/pprof/nope", "GET /elsewhere", "GET /metrics", "DELETE /debug/tasks",
             f"GET /debug/pprof/heap?token={TOKEN}", "POST /debug/pprof/symbol", "GET /debug/pprof/%zz", "GET //healthz",
             "GET /healthz/../debug/pprof/heap", "GET /debug/pprof/heap?/healthz", "GET /healthz%00"]

    def guess(line, header):
        return host.surely(f"{line} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n".encode())

    # Whatever is wrong, and whether the page exists: one answer, byte for byte.
    answers = {guess(line, header) for line in lines for header in guesses}
    check(len(answers) == 1 and status_of(next(iter(answers))) == 401, f"{len(answers)} answers: {list(answers)[:3]}")
    check(status_of(guess("GET /healthz", "")) == 200, "a liveness probe has no token")

    def right():
        request = urllib.request.Request(f"{host.debug}/debug/pprof/heap", headers={"Authorization": f"Bearer {TOKEN}"})
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return reply.read()
        return None

    def fetch():  # go tool pprof has no way to send a header
        with open(lab.path("heap.pb.gz"), "wb") as file:
            file.write(wait_until(right, "the right token to be served", PATIENCE_S))
        lab.top(lab.path("heap.pb.gz"))

    host.fetch_with_pprof = fetch
    known = answers | {b""}

    def again(number, stop):
        answer = host.ask(f"{random.choice(lines)} HTTP/1.1\r\nHost: localhost\r\n{random.choice(guesses)}"
                          "Connection: close\r\n\r\n".encode())
        check(answer in known or status_of(answer) == 503, f"another answer: {answer[:300]!r}")

    under(host, again)


def serves_nobody(lab, why, **settings):
    """One line of ours says why, and the host does its work."""
    host = lab.start(["/bin/cat"], lab.preloaded(**settings), stdin=subprocess.PIPE)
    host.wait_for(r"heldby\S* .*\n", PATIENCE_S)
    host.popen.stdin.write(b"output\n")
    host.popen.stdin.close()
    done = host.wait()
    check((done.status, done.out) == (0, "output\n"), f"{settings}: {done.status} {done.out!r}")
    lines = done.err.splitlines()
    check(len(lines) == 1 and lines[0].startswith("heldby") and why in lines[0], f"{settings}: {done.err!r}")


def test_a_token_file_that_is_no_secret_starts_no_endpoint(lab):
    fifo, folder, link = lab.path("fifo"), lab.path("folder"), lab.path("link")
    os.mkfifo(fifo, 0o600)
    os.mkdir(folder, 0o700)
    rows = [(secret(lab, mode=0o644, name="readable"), "group or others"),
            (secret(lab, mode=0o620, name="writable"), "group"),
            (fifo, "not a regular file"), (folder, "not a regular file"), ("/dev/zero", "not a regular file"),
            (secret(lab, "a" * 10_000_000, name="huge"), "too long"), (secret(lab, "short\n", name="short"), "too short"),
            (secret(lab, "with\x1b[2Jescape-sequences\n", name="odd"), "no header can carry"), (lab.path("absent"), "open")]
    os.symlink(secret(lab, mode=0o604, name="open"), link)
    rows.append((link, "group or others"))
    if os.geteuid() == 0:  # only root can give a file away
        given = secret(lab, name="given")
        os.chown(given, 65534, 65534)
        os.symlink(given, lab.path("link-to-given"))
        rows += [(given, "another user"), (lab.path("link-to-given"), "another user")]
    for path, why in rows:
        serves_nobody(lab, why, HELDBY_LISTEN="127.0.0.1:0", HELDBY_TOKEN_FILE=path)


def test_a_unix_socket_is_not_made_where_another_could_swap_it(lab):
    shared, occupied = lab.path("shared"), lab.path("occupied")
    os.mkdir(shared)
    os.chmod(shared, 0o777)
    secret(lab, "precious", name="occupied")
    os.symlink(occupied, lab.path("link"))
    os.symlink(lab.path("nothing"), lab.path("dangling"))
    rows = [(shared + "/a.sock", "written by others"), (occupied, "not a socket"), (lab.path("link"), "not a socket"),
            (lab.path("dangling"), "not a socket"), (lab.path("absent/a.sock"), "its directory")]
    if os.geteuid() == 0:
        given = lab.path("given-folder")
        os.mkdir(given, 0o755)
        os.chown(given, 65534, 65534)
        rows.append((given + "/a.sock", "another user"))
    for path, why in rows:
        serves_nobody(lab, why, HELDBY_LISTEN="unix:" + path)
    check(read_text(occupied) == "precious", "a file of the user's was touched")
    check(not os.path.exists(lab.path("nothing")), "a link was followed")


if __name__ == "__main__":
    run(globals())
