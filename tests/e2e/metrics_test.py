"""/metrics, read by the real promtool and the real prometheus."""

import gzip
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request

from harness import Failure, check, need, run, wait_until
from pprof_bytes import Profile

MIXIN = "exporters/prometheus/mixin"
MOST_SERIES = 300
SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)$')


def parse(text):
    """{series: value}; a series that comes twice is an error."""
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        found = SAMPLE.match(line)
        check(found, f"not a sample: {line!r}")
        series = found[1] + (found[2] or "")
        check(series not in values, f"{series} is on the page twice")
        values[series] = float(found[3])
    return values


def page(lab, address):
    status, body = lab.fetch(address + "/metrics")
    check(status == 200, f"/metrics answers {status}: {body[:300]}")
    return body.decode()


def promtool_accepts(lab, text):
    done = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
                          timeout=30, check=False)
    check((done.returncode, done.stdout + done.stderr) == (0, ""), f"promtool says {done.stdout}{done.stderr}\n{text}")


def download_server(lab, mode, megabytes=40):
    path = lab.path(f"{mode}.bin")
    with open(path, "wb") as file:
        file.truncate(megabytes * 1000 * 1000)
    server = lab.start([lab.bin("download_server"), f"--file={path}", "--listen=127.0.0.1:0", "--debug=127.0.0.1:0",
                        f"--mode={mode}"])
    port = int(server.wait_for(r"downloads on http://127\.0\.0\.1:(\d+)/")[1])
    debug = server.wait_for(r"(http://127\.0\.0\.1:\d+)/debug/pprof/")[1]
    return server, port, debug


def stuck_clients(lab, port, count=3):
    clients = lab.start([lab.bin("stuck_client"), f"--port={port}", f"--count={count}", "--seconds=200"],
                        stdin=subprocess.PIPE)
    clients.wait_for("stopped reading")
    return clients


class Load:
    """Downloads, one after the other, until close()."""

    def __init__(self, port):
        self.url, self.over, self.count = f"http://127.0.0.1:{port}/", threading.Event(), 0
        self.thread = threading.Thread(target=self.go_on, daemon=True)
        self.thread.start()

    def go_on(self):
        while not self.over.is_set():
            with urllib.request.urlopen(self.url, timeout=60) as reply:
                while reply.read(1 << 20):
                    pass
            self.count += 1
            self.over.wait(0.1)

    def close(self):
        self.over.set()
        self.thread.join(60)
        check(self.count > 0, "no download was completed")


def test_promtool_finds_nothing_to_say_of_the_metrics(lab):
    _, port, debug = download_server(lab, "leaky")
    clients = stuck_clients(lab, port)
    wait_until(lambda: parse(page(lab, debug))['heldby_connections{direction="inbound",state="peer_stopped_reading"}'] == 3,
               "three stuck readers on /metrics")
    text = page(lab, debug)
    promtool_accepts(lab, text)
    values = parse(text)
    check(len(values) < MOST_SERIES, f"{len(values)} series")
    held = values['heldby_connection_held_bytes{direction="inbound",state="peer_stopped_reading"}']
    check(abs(held - 3 * 40e6) < 0.02 * 3 * 40e6, f"three files of 40 MB are held, {held} says the page")
    parts = sum(value for name, value in values.items() if name.startswith("heldby_resident_bytes"))
    check(parts == values["process_resident_memory_bytes"], f"the parts of resident memory make {parts}\n{text}")
    clients.popen.stdin.close()


def test_metrics_are_compressed_for_those_who_ask(lab):
    _, _, debug = download_server(lab, "chunked", 1)

    def fetch(accepted):
        request = urllib.request.Request(debug + "/metrics", headers={"Accept-Encoding": accepted})
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.headers, reply.read()

    for accepted in ("gzip", "deflate, gzip;q=0.5"):
        headers, body = fetch(accepted)
        check(headers["Content-Encoding"] == "gzip", f"{accepted}: {headers}")
        promtool_accepts(lab, gzip.decompress(body).decode())
    for accepted in ("identity", "gzip;q=0", "gzip; Q=0.000", "br"):
        headers, body = fetch(accepted)
        check(headers["Content-Encoding"] is None and body.startswith(b"# HELP"), f"{accepted}: {headers}")
    check(headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", f"{headers}")


def test_metrics_agree_with_the_profiles_of_the_moment(lab):
    _, port, debug = download_server(lab, "leaky")
    clients = stuck_clients(lab, port)
    wait_until(lambda: parse(page(lab, debug))["heldby_heap_live_bytes"] > 119e6, "the files to be in memory", 30)

    # Not the text: as in Go, its numbers are of the samples alone.
    def heap():
        profile = Profile(lab.fetch(debug + "/debug/pprof/heap")[1])
        column = profile.sample_types.index("inuse_space/bytes")
        return sum(sample["values"][column] for sample in profile.samples)

    def agree():
        before, values, after = heap(), parse(page(lab, debug)), heap()
        connections = json.loads(lab.fetch(debug + "/debug/connections?format=json")[1])["connections"]
        # The page also lists those that have ended and still hold memory.
        counted = sum(value for name, value in values.items()
                      if name.startswith("heldby_connections{") or name == 'heldby_ended_holders{holder="connection"}')
        said[:] = [before, values["heldby_heap_live_bytes"], after, counted, connections]
        return before == after == values["heldby_heap_live_bytes"] and counted == len(connections)

    # Between two requests the server may have allocated; when it has not, all say the same.
    said = []
    try:
        wait_until(agree, "heap profile, connections page and metrics to say the same", 30)
    except Failure as failure:
        raise Failure(f"{failure}; the last said {said}") from failure
    clients.popen.stdin.close()


def test_totals_never_fall_however_many_scrape(lab):
    _, port, debug = download_server(lab, "leaky", 4)
    load = Load(port)
    wrong, pages, until = [], [], time.monotonic() + 4

    def scrape():
        before = {}
        while time.monotonic() < until:
            now = parse(page(lab, debug))
            for series, value in now.items():
                name = series.partition("{")[0]
                if name.endswith("_total") and value < before.get(series, 0):
                    wrong.append(f"{series}: {before[series]}, then {value}")
            before = now
            pages.append(1)

    scrapers = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in scrapers:
        thread.start()
    for thread in scrapers:
        thread.join(120)
    load.close()
    check(not wrong and len(pages) > 40, f"{len(pages)} pages; {wrong[:5]}")


MANY_NAMES = r"""
#include <heldby/heldby.h>
#include <cstdio>
#include <deque>
#include <string>
int main() {
  auto server = heldby::DebugServer::Start({.listen = "127.0.0.1:0"});
  static std::deque<std::string> names;
  static std::deque<heldby::AsyncTask> tasks;
  for (int i = 0; i < 1000; ++i) {
    names.push_back("task \xff\"\\\n" + std::to_string(i));
    for (int n = 0; n < 1 + i % 3; ++n) tasks.emplace_back(names.back().c_str());
  }
  std::printf("serves %s\n", server->address().c_str());
  std::fflush(stdout);
  (void)std::getchar();
}
"""


def test_a_thousand_odd_names_of_tasks_are_still_few_series(lab):
    source = lab.path("many.cc")
    with open(source, "w", encoding="utf-8") as file:
        file.write(MANY_NAMES)
    program = lab.path("many")
    lab.run_ok([need("g++"), "-std=c++20", "-O1", source, "-o", program, *lab.linked_flags()], seconds=120)
    process = lab.start([program], stdin=subprocess.PIPE)
    address = process.wait_for(r"serves (\S+)")[1]
    text = page(lab, address)
    promtool_accepts(lab, text)
    values = parse_lines(text)
    check(len(values) < MOST_SERIES, f"{len(values)} series")
    tasks = sum(value for name, value in values.items() if name.startswith("heldby_tasks{"))
    check(tasks == 1999, f"1,999 tasks there are, {tasks} says the page")
    process.popen.stdin.close()


def parse_lines(text):
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


def test_every_query_of_alerts_and_dashboard_names_a_metric_there_is(lab):
    _, port, debug = download_server(lab, "leaky")
    clients = stuck_clients(lab, port)
    wait_until(lambda: "\nheldby_tasks{" in page(lab, debug), "the tasks of the clients: a full machine accepts them late")
    there = {name.partition("{")[0] for name in parse(page(lab, debug))}
    # Of limits and allocators that are not everywhere.
    there |= {"heldby_cgroup_memory_limit_bytes", "heldby_cgroup_memory_used_bytes", "heldby_cgroup_memory_bytes",
              "heldby_task_oldest_age_seconds", "up"}
    folder = os.path.join(lab.source, MIXIN)
    rules = open(f"{folder}/rules.yml", encoding="utf-8").read()
    there |= set(re.findall(r"record: (\S+)", rules))
    dashboard = json.load(open(f"{folder}/dashboard.json", encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    alerts = open(f"{folder}/alerts.yml", encoding="utf-8").read()
    queries += re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +for:", alerts) + [rules.partition("groups:")[2]]
    used = set(re.findall(r"\b(?:heldby|process)[_:][a-z_:]+\b", "\n".join(queries))) - {"heldby:rules"}
    check(len(used) > 25, f"only {used} are used: the test looks at the wrong thing")
    check(used <= there, f"not on the page: {sorted(used - there)}")
    clients.popen.stdin.close()


def test_rules_and_alerts_pass_their_own_tests(lab):
    folder = os.path.join(lab.source, MIXIN)
    lab.run_ok([need("promtool"), "check", "rules", f"{folder}/rules.yml", f"{folder}/alerts.yml"])
    lab.run_ok([need("promtool"), "test", "rules", "alerts_test.yml"], cwd=f"{folder}/tests")


# An hour is twenty seconds here, five minutes are five: what the rules say of one they say of the other.
SHORTER = (("3600", "20"), ("[1h:1m]", "[20s:1s]"), ("[1h]", "[20s]"), ("[3h]", "[30s]"), ("[5m]", "[5s]"),
           ("for: 30m", "for: 8s"), ("for: 1h", "for: 20s"), ("for: 15m", "for: 8s"), ("for: 10m", "for: 8s"),
           ("for: 5m", "for: 5s"))


def start_prometheus(lab, targets):
    for name in ("rules.yml", "alerts.yml"):
        text = open(os.path.join(lab.source, MIXIN, name), encoding="utf-8").read()
        for real, short in SHORTER:
            text = text.replace(real, short)
        with open(lab.path(name), "w", encoding="utf-8") as file:
            file.write(text.replace("- name: ", "- interval: 1s\n    name: "))
    jobs = "".join(f"  - job_name: {job}\n    static_configs: [{{targets: ['{address}']}}]\n"
                   for job, address in targets.items())
    with open(lab.path("prometheus.yml"), "w", encoding="utf-8") as file:
        file.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                   f"rule_files: ['{lab.path('rules.yml')}', '{lab.path('alerts.yml')}']\nscrape_configs:\n{jobs}")
    port = lab.port_nobody_is_given()
    lab.start([need("prometheus"), f"--config.file={lab.path('prometheus.yml')}", f"--storage.tsdb.path={lab.path('tsdb')}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"])
    lab.fetch_when_up(f"http://127.0.0.1:{port}/-/ready")
    return f"http://127.0.0.1:{port}/api/v1/"


def query(lab, api, expression):
    status, body = lab.fetch(f"{api}query?query={urllib.parse.quote(expression)}")
    check(status == 200, f"{expression}: {body}")
    return json.loads(body)["data"]["result"]


def test_prometheus_fires_the_alerts_of_each_leak_and_no_other(lab):
    _, leaky_port, leaky = download_server(lab, "leaky")
    _, fixed_port, fixed = download_server(lab, "chunked")
    clients = [stuck_clients(lab, port) for port in (leaky_port, fixed_port)]
    loads = [Load(fixed_port)]
    pooled = {}
    for mode in ("leak", "fixed"):
        process = lab.start([lab.bin("leaky_client"), "--listen=127.0.0.1:0", f"--mode={mode}", "--calls=400",
                             "--pause-ms=200"], stdin=subprocess.PIPE)
        pooled[mode] = process.wait_for(r"http://(127\.0\.0\.1:\d+)/debug/pprof/")[1]
    api = start_prometheus(lab, {"slow_reader": leaky.removeprefix("http://"), "slow_reader_fixed": fixed.removeprefix("http://"),
                                 "unclosed": pooled["leak"], "unclosed_fixed": pooled["fixed"]})
    expected = {("slow_reader", "HeldbyStuckReaders"), ("unclosed", "HeldbyConnectionLeak"), ("unclosed", "HeldbyTaskLeak"),
                ("slow_reader", "HeldbyLeak"), ("unclosed", "HeldbyLeak")}
    ever = set()

    def all_fire():
        now = {(row["metric"]["job"], row["metric"]["alertname"])
               for row in query(lab, api, 'ALERTS{alertstate="firing"}')}
        ever.update(now)
        return expected <= now

    wait_until(all_fire, f"{expected} to fire, {ever} did", 110, 0.5)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        all_fire()
        time.sleep(0.5)
    check(ever == expected, f"fired: {sorted(ever)}")
    lost = query(lab, api, "sum(count_over_time((up == 0)[2m:1s]))")
    check(not lost, f"a scrape failed: {lost}")
    for load in loads:
        load.close()
    for process in clients:
        process.popen.stdin.close()


if __name__ == "__main__":
    run(globals())
