"""Programs nobody rebuilt: preloaded, they behave as ever and show where their memory is."""

import http.client
import os
import signal
import socket

from harness import check, children_of, need, run, wait_until

SAMPLINGS = (524288, 1)


def check_profile_names(lab, source, pattern, what, index="alloc_space"):
    top = lab.top(source, f"-sample_index={index}")
    check(top.rows, f"{what}: an empty profile\n{top.text}")
    top.check_every_frame_has_a_name()
    check(top.cum_of(pattern) > 0, f"{what}: no row matches /{pattern}/\n{top.text[:4000]}")
    return top


def dumps(lab, pid=None):
    names = sorted(name for name in os.listdir(lab.tmp) if name.endswith(".pb.gz"))
    return [lab.path(name) for name in names if pid is None or name == f"{pid}.pb.gz"]


def test_redis_is_profiled_under_its_own_benchmark(lab):
    benchmark, cli = need("redis-benchmark"), need("redis-cli")
    for sample_bytes in SAMPLINGS:
        sock = lab.path(f"redis-{sample_bytes}.sock")
        env = lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=sample_bytes,
                            HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"))
        server = lab.start([need("redis-server"), "--port", "0", "--unixsocket", sock, "--save", "",
                            "--appendonly", "no", "--dir", lab.tmp], env=env)
        wait_until(lambda: os.path.exists(sock), "redis to listen")
        load = lab.run_ok([benchmark, "-s", sock, "-n", "20000", "-c", "20", "-d", "2000", "-r", "5000", "-q",
                           "-t", "set,get,lpush"])
        check("requests per second" in load.out, f"redis-benchmark:\n{load.out}{load.err}")
        address = lab.served_address(server.pid)
        # redis asks through its own zmalloc; its build for Debian keeps the dynamic symbols.
        check_profile_names(lab, address + "/debug/pprof/heap", r"^(z(try)?[mcre]+alloc|sds)\w*", "redis, live")
        lab.run([cli, "-s", sock, "shutdown", "nosave"])
        ended = server.wait()
        check(ended.status == 0, f"redis ended with {ended.status}:\n{ended.out[-2000:]}{ended.err}")
        check(ended.err == "", f"redis has an unexpected word on stderr:\n{ended.err}")
        check_profile_names(lab, dumps(lab, server.pid)[0], r"^z(try)?[mcre]+alloc", "redis, at exit")


NGINX = """
worker_processes 3;
daemon {daemon};
pid {tmp}/nginx.pid;
error_log {tmp}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; fastcgi_temp_path {tmp}/fastcgi;
  uwsgi_temp_path {tmp}/uwsgi; scgi_temp_path {tmp}/scgi;
  server {{ listen unix:{tmp}/nginx.sock; root {tmp}/www; gzip on; gzip_types *; }}
}}
"""


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def fetch_from(path, name):
    connection = UnixHttp(path)
    connection.request("GET", name, headers={"Accept-Encoding": "gzip"})
    body = connection.getresponse().read()
    connection.close()
    return body


def nginx_serves_with_workers(lab, daemon):
    os.mkdir(lab.path("www"))
    os.chmod(lab.tmp, 0o755)
    with open(lab.path("www/file.txt"), "w", encoding="ascii") as file:
        file.write("a line of text to compress\n" * 20000)
    with open(lab.path("nginx.conf"), "w", encoding="ascii") as file:
        file.write(NGINX.format(tmp=lab.tmp, daemon="on" if daemon else "off"))
    env = lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=1)
    server = lab.start([need("nginx"), "-e", lab.path("error.log"), "-c", lab.path("nginx.conf")], env=env)
    if daemon:
        started = server.wait(20)
        check(started.status == 0 and started.out == "", f"nginx: {started.status}\n{started.out}{started.err}")
    wait_until(lambda: os.path.exists(lab.path("nginx.pid")) and open(lab.path("nginx.pid")).read().strip(), "nginx")
    master = int(open(lab.path("nginx.pid"), encoding="ascii").read())
    workers = wait_until(lambda: (found := workers_of(master)) and len(found) == 3 and found, "three workers")
    for _ in range(200):
        check(len(fetch_from(lab.path("nginx.sock"), "/file.txt")) > 100, "nginx serves an empty file")
    for pid in [master] + workers:
        address = lab.served_address(pid)
        check_profile_names(lab, address + "/debug/pprof/heap", r"nginx|ngx_", f"nginx, process {pid}")
    check(workers_of(master) == workers, "nginx had to replace workers:\n" + log_of(lab))
    os.kill(master, signal.SIGTERM)
    wait_until(lambda: not alive(master), "nginx to end")
    for word in ("exited on signal", "[emerg]", "[crit]"):
        check(word not in log_of(lab), f"nginx complains:\n{log_of(lab)}")


def workers_of(master):
    return sorted(children_of(master))


def alive(pid):
    """Zombies have ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def log_of(lab):
    with open(lab.path("error.log"), encoding="utf-8") as file:
        return file.read()


def test_each_worker_of_nginx_is_served_on_its_own(lab):
    nginx_serves_with_workers(lab, daemon=False)


def test_nginx_as_a_daemon_is_served_on(lab):
    nginx_serves_with_workers(lab, daemon=True)


def test_memcached_is_profiled_while_it_stores(lab):
    for sample_bytes in SAMPLINGS:
        path = lab.path(f"memcached-{sample_bytes}.sock")
        env = lab.preloaded(HELDBY_LISTEN="127.0.0.1:0", HELDBY_SAMPLE_BYTES=sample_bytes)
        server = lab.start([need("memcached"), "-u", "root", "-s", path], env=env)
        wait_until(lambda: os.path.exists(path), "memcached to listen")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(10)
            client.connect(path)
            for i in range(2000):
                client.sendall(b"set key%d 0 0 5000\r\n" % i + b"v" * 5000 + b"\r\n")
                check(client.recv(100) == b"STORED\r\n", f"memcached did not store value {i}")
        top = lab.top(lab.served_address(server.pid) + "/debug/pprof/heap", "-sample_index=alloc_space")
        top.check_every_frame_has_a_name()
        check(top.cum_of(r"memcached|clone3|start_thread") > 0, f"memcached's memory is missing:\n{top.text}")
        ended = server.stop()
        check(ended.status == 0 and ended.err == "", f"memcached: {ended.status}\n{ended.err}")


PYTHON_HOST = """
import subprocess, sys, threading
print(subprocess.run(['/bin/echo', 'hello from a child'], capture_output=True, text=True).stdout, end='')
kept = []
workers = [threading.Thread(target=lambda: kept.extend(bytearray(3000) for _ in range(200))) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
kept.extend(bytearray(100000) for _ in range(50))
print(len(kept), 'blocks', flush=True)
sys.exit(3)
"""


def test_python3_with_threads_and_children_behaves_as_ever(lab):
    argv = ["/usr/bin/python3", "-c", PYTHON_HOST]
    plain = lab.run(argv)
    for sample_bytes in SAMPLINGS:
        profiled = lab.run(argv, lab.preloaded(HELDBY_SAMPLE_BYTES=sample_bytes, HELDBY_LISTEN="127.0.0.1:0",
                                               HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz")))
        check((profiled.status, profiled.out, profiled.err) == (plain.status, plain.out, plain.err),
              f"without: {plain.status} {plain.out!r}\nwith: {profiled.status} {profiled.out!r}\n{profiled.err}")


def test_the_main_thread_of_python3_is_sampled(lab):
    script = "kept = [bytearray(100000) for _ in range(50)]; import os; os.write(1, b'done')"
    process = lab.start(["/usr/bin/python3", "-c", script],
                        env=lab.preloaded(HELDBY_SAMPLE_BYTES=1, HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz")))
    check(process.wait().out == "done", "python3 did not run")
    top = check_profile_names(lab, dumps(lab, process.pid)[0], r"PyByteArray|Py_BytesMain|_PyEval", "python3")
    check(top.total >= 50 * 100000, f"5 MB of bytearrays are missing\n{top.text}")


def test_clang_compiles_the_same_bytes(lab):
    source = os.path.join(lab.programs, "readable_names.cc")
    for sample_bytes in SAMPLINGS:
        objects = []
        for env in (lab.env(), lab.preloaded(HELDBY_SAMPLE_BYTES=sample_bytes,
                                             HELDBY_DUMP_AT_EXIT=lab.path("%p.pb.gz"))):
            lab.run_ok([need("clang++"), "-std=c++20", "-O1", f"-I{lab.source}/include", "-c", source, "-o",
                        lab.path("compiled.o")], env=env, seconds=120)
            with open(lab.path("compiled.o"), "rb") as file:
                objects.append(file.read())
        check(objects[0] == objects[1], f"clang++ compiles other bytes at distance {sample_bytes}")
    largest = max(dumps(lab), key=os.path.getsize)
    check_profile_names(lab, largest, r"llvm::|clang::", "clang++")


if __name__ == "__main__":
    run(globals())
