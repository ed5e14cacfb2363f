"""The configurations of docs/fleet, by real programs where Debian has them, and else by what those programs ask and accept."""

import concurrent.futures
import json
import os
import re
import time

from conformance_test import BYTES, Server, ask, check_limits, checkvalid
from harness import check, need, run, wait_until
from pprof_bytes import Profile

# Sample types by which scrapers find the columns: docs/endpoint.md.
TYPES = {
    "allocs": ["alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"],
    "block": ["contentions/count", "delay/nanoseconds"],
    "goroutine": ["goroutine/count"],
    "profile": ["samples/count", "cpu/nanoseconds"],
}
TYPES.update(delta_heap=TYPES["allocs"], mutex=TYPES["block"], delta_block=TYPES["block"], delta_mutex=TYPES["block"])


def config(lab, name):
    with open(os.path.join(lab.source, "docs", "fleet", name), encoding="utf-8") as file:
        return file.read()


def check_profile(target, answer, took, timeout_s):
    """R1 to R9, R11 to R13 of what scrapers need."""
    status, headers, body = answer
    check(status == 200, f"{target}: {status} {body[:200]!r}")
    check(headers["Content-Type"] == BYTES and "Content-Encoding" not in headers, f"{target}: {headers}")
    check(body[:2] == b"\x1f\x8b", f"{target}: not gzip")
    check(took < timeout_s, f"{target}: {took:.1f} s, and the scraper waits {timeout_s}")
    profile = Profile(body)
    name = re.search(r"/debug/pprof/(\w+)", target)[1]
    if name in TYPES:
        check(profile.sample_types == TYPES[name], f"{target}: {profile.sample_types}")
    check_limits(target, body, profile)
    addresses = [location[3][0] if isinstance(location[3], (list, tuple)) else location for location in profile.locations]
    check(len(set(addresses)) == len(addresses) and 0 not in addresses, f"{target}: addresses are not unique")
    check(profile.time_nanos > 0, f"{target}: no time")
    for sample in profile.samples:
        for key in sample["labels"]:
            check(re.match(r"^[a-zA-Z_][a-zA-Z0-9_]*$", key), f"{target}: a label is called {key!r}")


def scrape_all(lab, server, targets, timeout_s):
    """All at once, as scrapers do."""
    def timed(target):
        start = time.monotonic()
        return ask(server.debug, "GET", target, seconds=120), time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(max_workers=len(targets)) as pool:
        answers = list(pool.map(timed, targets))
    files = []
    for number, (target, (answer, took)) in enumerate(zip(targets, answers)):
        check_profile(target, answer, took, timeout_s)
        files.append(lab.path(f"{number}.pb.gz"))
        with open(files[-1], "wb") as file:
            file.write(answer[2])
    checkvalid(lab, files)


def test_what_alloy_asks_for_is_what_it_accepts(lab):
    text = config(lab, "alloy.alloy")
    blocks = re.findall(r"profile\.(\w+)(?: \"\w+\")? \{([^}]*)\}", text)
    targets = [re.search(r'path\s*=\s*"([^"]+)"', body)[1] + ("?seconds=3" if "delta   = true" in body else "")
               for _, body in blocks if "enabled = true" in body]
    check(len(targets) == 6, f"{targets}")
    scrape_all(lab, Server(lab), targets, 3 + 10)


def test_what_parca_asks_for_is_what_it_accepts(lab):
    text = config(lab, "parca.yaml")
    blocks = re.findall(r"^ {8}(\w+):\n((?: {10}.*\n)+)", text, re.MULTILINE)
    targets = [re.search(r"path: (\S+)", body)[1] + ("?seconds=3" if "delta: true" in body else "")
               for _, body in blocks]
    check(len(targets) == 6, f"{targets}")
    scrape_all(lab, Server(lab), targets, 3 + 3)


def test_what_the_collector_asks_for_is_what_it_accepts(lab):
    text = config(lab, "otel-collector.yaml")
    # By the receiver's schema all of these are keys of `remote`; the Collector ends at a key that it does not know.
    for body in re.findall(r"^  pprof/\w+:\n((?: {4}.*\n)+)", text, re.MULTILINE):
        check(re.fullmatch(r" {4}remote:\n(?: {6}(?:endpoint|collection_interval|timeout): \S+\n)+", body), body)
    targets = re.findall(r"http://127\.0\.0\.1:6060(/debug[^\"]+)", text)
    check(len(targets) == 3, f"{targets}")
    scrape_all(lab, Server(lab), [target.replace("seconds=10", "seconds=3") for target in targets], 20)


def test_prometheus_starts_with_its_configuration_and_scrapes(lab):
    server = Server(lab)
    mixin = os.path.join(lab.source, "exporters", "prometheus", "mixin")
    text = config(lab, "prometheus.yml").replace("/usr/local/share/heldby/mixin", mixin)
    text = text.replace("127.0.0.1:6060", server.debug.removeprefix("http://")).replace("15s", "1s")
    path = lab.path("prometheus.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    lab.run_ok([need("promtool"), "check", "config", path])
    port = lab.port_nobody_is_given()
    lab.start([need("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={lab.path('tsdb')}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"])
    api = f"http://127.0.0.1:{port}/"
    lab.fetch_when_up(api + "-/ready")

    def there(what):
        rows = json.loads(lab.fetch(f"{api}api/v1/query?query={what}")[1])["data"]["result"]
        return rows and float(rows[0]["value"][1]) > 0

    for what in ("up", "heldby_build_info", "heldby:uptime_seconds"):
        wait_until(lambda what=what: there(what), f"{what} in Prometheus", 20, 0.3)


def test_the_gate_of_the_pod_lets_scrapers_in(lab):
    """nginx with the configuration of kubernetes.yaml, before a preloaded program on a unix socket."""
    text = config(lab, "kubernetes.yaml")
    volume = lab.path("volume")
    os.mkdir(volume)
    os.chmod(volume, 0o2777)  # an emptyDir with an fsGroup
    for command in re.findall(r"command: \[(.*)\]", text):
        lab.run_ok([word.strip(' "') for word in command.replace("/run/heldby", volume).split(",")])
    listen = re.search(r'HELDBY_LISTEN, value: "(unix:/run/heldby/\S+)"', text)[1].replace("/run/heldby", volume)
    socket = re.search(r"proxy_pass http://unix:(/run/heldby/\S+);", text)[1].replace("/run/heldby", volume)
    service = lab.start([need("python3"), "-c", "import time; print('up', flush=True); time.sleep(200)"],
                        env=lab.preloaded(HELDBY_LISTEN=listen))
    socket = socket.replace("/1.sock", f"/{service.pid}.sock")
    wait_until(lambda: os.path.exists(socket), "the socket", 20)
    gate = text.partition("default.conf: |\n")[2]
    port = lab.port_nobody_is_given()
    gate = re.sub(r"/run/heldby/[^;]+", socket, gate).replace("6061", f"127.0.0.1:{port}")
    folders = "".join(f"{kind}_temp_path {lab.path(kind)};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = lab.path("nginx.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"daemon off; worker_processes 1; user root; pid {lab.path('nginx.pid')}; error_log stderr;\n"
                   f"events {{}}\nhttp {{ access_log off; {folders}\n{gate} }}\n")
    lab.start([need("nginx"), "-c", path, "-p", lab.tmp])
    status, body = lab.fetch_when_up(f"http://127.0.0.1:{port}/metrics")
    check(status == 200 and b"heldby_heap_live_bytes" in body, f"{status} {body[:300]}")
    status, body = lab.fetch(f"http://127.0.0.1:{port}/debug/pprof/heap")
    check(status == 200 and Profile(body).sample_types == TYPES["allocs"], f"{status} {body[:300]}")


def test_the_pages_name_the_files_there_are_and_every_metric(lab):
    page = open(os.path.join(lab.source, "docs", "fleet.md"), encoding="utf-8").read()
    named = set(re.findall(r"\(fleet/([\w.-]+)\)", page))
    check(named == set(os.listdir(os.path.join(lab.source, "docs", "fleet"))), f"{named}")
    metrics = open(os.path.join(lab.source, "docs", "metrics.md"), encoding="utf-8").read()
    families = set(re.findall(r"^# TYPE (heldby_\S+)", lab.fetch(Server(lab).debug + "/metrics")[1].decode(), re.MULTILINE))
    listed = set(re.findall(r"`(heldby_\w+)`", metrics))
    missing = {name for name in families if name not in listed}
    check(not missing, f"docs/metrics.md does not list {sorted(missing)}")
    alerts = open(os.path.join(lab.source, "exporters", "prometheus", "mixin", "alerts.yml"), encoding="utf-8").read()
    chapters = re.findall(r"^## (\w+)", open(os.path.join(lab.source, "docs", "alerts.md"), encoding="utf-8").read(), re.MULTILINE)
    check(re.findall(r"alert: (\w+)", alerts) == chapters, f"docs/alerts.md has {chapters}")


if __name__ == "__main__":
    run(globals())
