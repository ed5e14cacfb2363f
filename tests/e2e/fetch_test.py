"""heldby fetch: whole profiles from any kind of address, and the server's own words where there is none."""

import contextlib
import gzip
import os
import socket
import subprocess
import threading

from harness import check, read_text, run
from profile_writer import random_profile
from shape_test import Server

PROFILE = random_profile(3, (2, 3))


class Scripted:
    """A server that answers each connection with the next of the given bytes, then closes it."""

    def __init__(self, answers):
        self.requests = []
        self.answers = list(answers)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(60)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while self.answers:
                client, _ = self.socket.accept()
                with client:
                    client.settimeout(60)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        part = client.recv(65536)
                        if not part:
                            break
                        data += part
                    self.requests.append(data.decode())
                    client.sendall(self.answers.pop(0))

    def close(self):
        self.socket.close()


def reply(body, *headers, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def whole(body, *headers, status="200 OK"):
    return reply(body, f"Content-Length: {len(body)}", *headers, status=status)


def chunked(body, *, ends=True):
    parts = [body[i:i + 100] for i in range(0, len(body), 100)]
    data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return reply(data + (b"0\r\n\r\n" if ends else b""), "Transfer-Encoding: chunked")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def in_folder(lab, *words, env=None):
    """heldby fetch in an empty folder: (what it did, what is there now)."""
    folder = lab.path(f"fetch-{lab.count}")
    os.mkdir(folder)
    done = lab.run([lab.heldby, "fetch", *words], env=env, cwd=folder)
    return done, sorted(os.path.join(folder, name) for name in os.listdir(folder))


def types_of(lab, path):
    return lab.pprof("-raw", path).split("Samples:\n")[1].split("\n")[0]


def test_heldby_fetch_takes_a_host_a_url_a_process_and_a_socket(lab):
    server = Server(lab)
    host = server.debug.removeprefix("http://")
    unix = lab.path("own.sock")
    plain = lab.start([lab.heldby, "run", "--listen=127.0.0.1:0", "--", "/bin/sleep", "100"])
    socketed = lab.start([lab.heldby, "run", f"--listen=unix:{unix}", "--", "/bin/sleep", "100"])
    lab.served_address(plain.pid)
    lab.served_address(socketed.pid)
    heap, threads = "alloc_objects", "goroutine"
    for words, wanted in [
            ([host], heap), ([server.debug], heap), ([server.debug + "/"], heap), ([f"{server.debug}/debug/pprof"], heap),
            ([f"{server.debug}/debug/pprof/", "goroutine"], threads), ([f"{server.debug}/debug/pprof/goroutine"], threads),
            ([host + "/debug/pprof/goroutine"], threads), ([host, "goroutine"], threads), ([host, "heap?gc=1"], heap),
            ([str(plain.pid)], heap), ([str(plain.pid), "goroutine"], threads), ([str(socketed.pid)], heap),
            ([f"unix:{unix}"], heap), ([f"unix:{unix}", "goroutine"], threads)]:
        done, files = in_folder(lab, *words)
        check(done.status == 0 and len(files) == 1 and done.out == "", f"{words}: {done.status} {files}\n{done.err}")
        check(f"Saved profile in {os.path.basename(files[0])}" in done.err, done.err)
        check(wanted in types_of(lab, files[0]) and wanted in files[0], f"{words}: {files} {types_of(lab, files[0])}")


def test_heldby_fetch_never_replaces_a_file_that_it_named_itself(lab):
    server = Scripted([whole(PROFILE)] * 4 + [whole(b"text\n", "Content-Type: text/plain; charset=utf-8")])
    folder = lab.path("saved")
    os.mkdir(folder)
    for _ in range(3):
        lab.run_ok([lab.heldby, "fetch", server.address], cwd=folder)
    names = sorted(os.listdir(folder))
    check(len(names) == 3 and all(name.startswith("pprof.") and name.endswith(f".00{i + 1}.pb.gz")
                                  for i, name in enumerate(names)), f"{names}")
    check(all(read(os.path.join(folder, name)) == PROFILE for name in names), "not the server's bytes")
    with open(lab.path("named"), "w", encoding="ascii") as file:
        file.write("old")
    lab.run_ok([lab.heldby, "fetch", "-o", lab.path("named"), server.address])
    check(read(lab.path("named")) == PROFILE, "-o replaces")
    lab.run_ok([lab.heldby, "fetch", server.address, "cmdline"], cwd=folder)
    check(any(name.endswith(".cmdline.001.txt") for name in os.listdir(folder)), f"{os.listdir(folder)}")


def test_heldby_fetch_understands_every_way_a_body_can_come(lab):
    packed = whole(gzip.compress(PROFILE), "Content-Encoding: gzip")
    for name, answer in (("length", whole(PROFILE)), ("chunks", chunked(PROFILE)), ("encoded", packed),
                         ("until it closes", reply(PROFILE, "Connection: close"))):
        server = Scripted([answer])
        done, files = in_folder(lab, "-o", "out", server.address)
        check(done.status == 0 and read(files[0]) == PROFILE, f"{name}: {done.status}\n{done.err}")
        check(server.requests[0].startswith("GET /debug/pprof/heap HTTP/1.1\r\n"), server.requests[0])
    server = Scripted([whole(PROFILE)])
    with subprocess.Popen([lab.heldby, "fetch", "-o", "-", server.address], stdout=subprocess.PIPE) as process:
        check(process.stdout.read() == PROFILE and process.wait(60) == 0, "-o - writes the bytes and nothing else")


def test_heldby_fetch_leaves_no_file_of_half_a_body(lab):
    half = PROFILE[:len(PROFILE) // 2]
    for name, answer, wanted in (
            ("length", reply(half, f"Content-Length: {len(PROFILE)}"), "lost in the middle"),
            ("chunks", chunked(half, ends=False), "lost in the middle"),
            ("gzip until it closes", reply(half, "Connection: close"), "gzip"),
            ("empty", whole(b""), "no body"), ("no answer", b"", "without an answer"),
            ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n", "read from")):
        server = Scripted([answer])
        for words in (["-o", "out"], []):
            if words:
                done, files = in_folder(lab, *words, server.address)
            else:
                server = Scripted([answer])
                done, files = in_folder(lab, server.address)
            check(done.status == 1 and wanted in done.err and files == [], f"{name}: {done.status} {files}\n{done.err}")
            check(len(done.err.splitlines()) == 1, f"{name}: more than a line:\n{done.err}")
    nobody = f"127.0.0.1:{lab.port_nobody_is_given()}"
    done, files = in_folder(lab, nobody)
    check(done.status == 1 and nobody in done.err and files == [], done.err)


def test_heldby_fetch_shows_errors_in_the_servers_own_words(lab):
    server = Server(lab)
    for words, wanted in ((["nope"], "404 Not Found - Unknown profile"),
                          (["heap?seconds=x"], '400 Bad Request - invalid value for "seconds" - must be a positive integer'),
                          (["heap?seconds=1&debug=1"], "seconds and debug params are incompatible")):
        done, files = in_folder(lab, server.debug, *words)
        check(done.status == 1 and wanted in done.err and files == [], f"{words}: {done.status} {files}\n{done.err}")
    page = Scripted([whole(b"<html>not for you", "Content-Type: text/html", status="500 Oops")])
    done, files = in_folder(lab, page.address)
    check(done.status == 1 and "500 Oops" in done.err and "not for you" not in done.err and files == [], done.err)
    hostile = Scripted([whole(b"for you \x1b[2J", "Content-Type: text/plain", "X-Go-Pprof: 1", status="500 Oops")])
    done, files = in_folder(lab, hostile.address)
    check("for you \\x1b[2J" in done.err and "\x1b" not in done.err, f"an escape reaches the terminal: {done.err!r}")


def test_heldby_fetch_follows_redirects_within_the_server_and_nowhere_else(lab):
    server = Scripted([reply(b"", "Location: pprof/heap2", "Content-Length: 0", status="301 Moved Permanently"),
                       reply(b"", "Location: /prefix/heap3?a=b", "Content-Length: 0", status="302 Found"), whole(PROFILE)])
    done, files = in_folder(lab, "-o", "out", server.address + "/x/debug/heap")
    check(done.status == 0 and read(files[0]) == PROFILE, f"{done.status}\n{done.err}")
    paths = [request.split(" ")[1] for request in server.requests]
    check(paths == ["/x/debug/heap", "/x/debug/pprof/heap2", "/prefix/heap3?a=b"], f"{paths}")

    token = lab.path("token")
    with open(token, "w", encoding="ascii") as file:
        file.write("a-secret-of-many-letters\n")
    os.chmod(token, 0o600)
    elsewhere = Scripted([whole(PROFILE)])
    server = Scripted([reply(b"", f"Location: http://{elsewhere.address}/debug/pprof/heap", "Content-Length: 0",
                             status="307 Temporary Redirect")])
    done, files = in_folder(lab, "-token-file", token, server.address)
    check(done.status == 1 and "another server" in done.err and files == [], f"{done.status}\n{done.err}")
    check(elsewhere.requests == [], "the token went to another server")
    circle = Scripted([reply(b"", "Location: /debug/pprof/heap", "Content-Length: 0", status="301 Moved")] * 8)
    done, files = in_folder(lab, circle.address)
    check(done.status == 1 and "more than 5" in done.err and files == [], f"{done.status}\n{done.err}")


def test_heldby_fetch_sends_a_token_that_nobody_else_can_read(lab):
    token = lab.path("token")
    with open(token, "w", encoding="ascii") as file:
        file.write("a-secret-of-many-letters\n")
    os.chmod(token, 0o600)
    process = lab.start([lab.heldby, "run", "--", "/bin/sleep", "60"], env=lab.env(HELDBY_TOKEN_FILE=token))
    pid = str(process.pid)
    lab.served_address(process.pid)
    done, files = in_folder(lab, pid)
    check(done.status == 1 and "401" in done.err and files == [], f"without a token: {done.status}\n{done.err}")
    for words, env in ((["-token-file", token], None), ([f"--token-file={token}"], None),
                       ([], lab.env(HELDBY_TOKEN_FILE=token))):
        done, files = in_folder(lab, *words, pid, env=env)
        check(done.status == 0 and len(files) == 1, f"{words}: {done.status}\n{done.err}")
    os.chmod(token, 0o644)
    done, files = in_folder(lab, "-token-file", token, pid)
    check(done.status == 2 and "chmod 600" in done.err and files == [], f"{done.status}\n{done.err}")


def test_heldby_fetch_tells_how_far_a_timed_profile_is(lab):
    server = Server(lab)
    quiet, _ = in_folder(lab, "-seconds", "2", server.debug, "heap")
    check(quiet.status == 0 and len(quiet.err.splitlines()) == 1, f"no terminal, no progress:\n{quiet.err}")
    told, files = in_folder(lab, "-seconds=2", "-progress", server.debug, "heap")
    check(told.status == 0 and "heap: 1 of 2 s" in told.err, told.err)
    check("heap" in types_of(lab, files[0]) or "inuse_space" in types_of(lab, files[0]), types_of(lab, files[0]))


def test_heldby_fetch_waits_no_longer_than_it_was_told(lab):
    server = socket.create_server(("127.0.0.1", 0))  # the kernel accepts, nobody answers
    done, files = in_folder(lab, "-timeout", "1", f"127.0.0.1:{server.getsockname()[1]}")
    server.close()
    check(done.status == 1 and "no answer in time" in done.err and files == [], f"{done.status}\n{done.err}")


def test_heldby_fetch_names_wrong_usage(lab):
    for words, wanted in (([], "TARGET"), (["a:1", "b", "c"], "TARGET"), (["-wrong", "a:1"], "-wrong"), (["-o"], "-o"),
                          (["-seconds", "x", "a:1"], "-seconds"), (["https://a:1"], "TLS"), (["ftp://a:1"], "ftp"),
                          (["nonsense"], "nonsense"), (["a:99999"], "port"), ([":80"], "host"), (["user@a:80"], "user"),
                          (["http://a:1/debug/pprof/heap", "goroutine"], "already"), (["unix:relative"], "whole path"),
                          (["a:1", "he ap"], "%XX"), (["a:1", "heap\r\nX: y"], "%XX"),
                          (["unix:/" + "x" * 200], "107")):
        done, files = in_folder(lab, *words)
        check(done.status == 2 and wanted in done.err and files == [], f"heldby fetch {words}: {done.status}\n{done.err}")
    gone = lab.start(["/bin/true"])
    gone.wait()
    done, _ = in_folder(lab, str(gone.pid))
    check(done.status == 1 and "serves no endpoint" in done.err, f"{done.status}\n{done.err}")
    usage = lab.run_ok([lab.heldby, "help"]).out
    check(all(f"heldby {word}" in usage for word in ("run", "ls", "fetch", "top", "diff", "text", "convert")), usage)
    check(read_text(gone.err_path) == "", "true says nothing")


if __name__ == "__main__":
    run(globals())
