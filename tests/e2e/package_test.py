"""What the libraries show, what they bring along, and how other projects take them in."""

import os
import re
import subprocess

from harness import check, need, run

STANDARD_LIBRARIES_OF_THE_CORE = {"libc.so.6", "ld-linux-x86-64.so.2"}


def exports(lab, name):
    """Demangled names of the defined dynamic symbols, without parameters."""
    listing = lab.run_ok([need("nm"), "-D", "--defined-only", lab.lib(name)]).out
    return sorted({line.split()[-1].split("@")[0] for line in listing.splitlines()})


def allowed_for_the_core(lab):
    with open(f"{lab.source}/lib/core/exports.map", encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return sorted(re.findall(r"\b([A-Za-z_]\w*);", text.partition("global:")[2].partition("local:")[0]))


def test_the_core_shows_the_malloc_family_and_nothing_else(lab):
    shown, allowed = exports(lab, "libheldby.so"), allowed_for_the_core(lab)
    check(shown == allowed, f"unexpected: {set(shown) - set(allowed)}; missing: {set(allowed) - set(shown)}")


def test_the_core_needs_libc_alone(lab):
    listing = lab.run_ok([need("readelf"), "-d", lab.lib("libheldby.so")]).out
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", listing))
    check("libc.so.6" in needed and needed <= STANDARD_LIBRARIES_OF_THE_CORE, f"libheldby.so needs {needed}")
    loaded = set(re.findall(r"^\s*(\S+\.so\S*) ", lab.run_ok([need("ldd"), lab.lib("libheldby.so")]).out, re.MULTILINE))
    names = {os.path.basename(path) for path in loaded} - {"linux-vdso.so.1"}
    check(names <= STANDARD_LIBRARIES_OF_THE_CORE, f"ldd libheldby.so shows {names}")


def test_the_server_library_shows_the_public_names_alone(lab):
    headers = f"{lab.source}/include/heldby"
    public = "".join(open(os.path.join(headers, name), encoding="utf-8").read()
                     for name in os.listdir(headers) if name.endswith(".h"))
    for symbol in exports(lab, "libheldby-server.so"):
        if symbol in ("heldby_face_listen", "heldby_face_watch", "heldby_face_dump"):
            continue
        name = subprocess.run([need("c++filt"), symbol], capture_output=True, text=True, check=True, timeout=10).stdout
        found = re.match(r"heldby::(\w+)", name)
        check(found and re.search(rf"\b{found[1]}\b", public), f"libheldby-server.so shows {name}")


def serves_a_profile(lab, program):
    process = lab.start([program], stdin=subprocess.PIPE)
    address = process.wait_for(r"serves (\S+)")[1]
    top = lab.top(address + "/debug/pprof/heap")
    check(top.cum_of(r"HoldMemory") >= 0.95 * 64 * 1024 * 1024, f"{program}: HoldMemory is missing\n{top.text}")
    process.popen.stdin.close()
    check(process.wait().status == 0, f"{program}: {process.err()}")


def sees_its_coroutine(lab, program):
    done = lab.run([program])
    check((done.status, done.out) == (0, "seen\n"), f"{program}: {done.status}\n{done.out}{done.err}")


def exposes_both(lab, program):
    """A program's own metrics and heldby's, on its own page and on ours."""
    process = lab.start([program], stdin=subprocess.PIPE)
    own = process.wait_for(r"exposes (\S+)")[1]
    ours = process.wait_for(r"serves (\S+)")[1] + "/metrics"
    for url in (own, ours):
        status, body = lab.fetch(url)
        text = body.decode()
        live, error = (float(re.search(rf"^heldby_heap_live_{name}bytes (\S+)", text, re.MULTILINE)[1])
                       for name in ("", "standard_error_"))
        # An estimate: 5 sigma (6e-7), and a megabyte for what a process holds besides.
        check(abs(live - 64 * 1024 * 1024) < 5 * error + 1e6, f"{url}: {live} +- {error}")
        check(status == 200
              and re.search(r"^service_requests_total.* 3$", text, re.MULTILINE)
              and 'service_request_seconds_bucket{le="1"} 1' in text, f"{url}: {status}\n{text}")
    # prometheus-cpp does not escape the line end in that help text; we do.
    accepted = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True,
                              timeout=30, check=False)
    check("error while linting" not in accepted.stderr, f"{accepted.stderr}\n{text}")
    process.popen.stdin.close()
    check(process.wait().status == 0, process.err())


def is_served_beside_an_exposer(lab, program):
    """A program that brings prometheus-cpp, and us by preload."""
    process = lab.start([program], env=lab.preloaded(HELDBY_LISTEN="127.0.0.1:0"), stdin=subprocess.PIPE)
    own = process.wait_for(r"exposes (\S+)")[1]
    ours = lab.served_address(process.pid) + "/metrics"
    for url, expected in ((own, b"service_requests_total"), (ours, b"heldby_heap_live_bytes")):
        status, body = lab.fetch(url)
        check(status == 200 and expected in body, f"{url}: {status} {body[:500]}")
    process.popen.stdin.close()
    check(process.wait().status == 0, process.err())


def fails_for_what_is_left(lab, program):
    done = lab.run([program])
    check(done.status == 1 and "[  PASSED  ] 1 test." in done.out and "FAILED TEST" in done.out
          and "30008 bytes in 2 blocks, with route=/download\n    Cache::Load" in done.out
          and "1 task: flusher, with route=/download, waiting for work (" in done.out, f"{done.status}\n{done.out}{done.err}")


def build_consumer(lab, name, build, *arguments):
    lab.run_ok([need("cmake"), "-S", f"{lab.source}/tests/consumer/{name}", "-B", build, "-G", "Ninja",
                *arguments])
    lab.run_ok([need("cmake"), "--build", build, "--parallel", "2"], seconds=840)
    return build


def test_find_package_gives_a_service_its_endpoint(lab):
    prefix = lab.path("prefix")
    lab.run_ok([need("cmake"), "--install", lab.build, "--prefix", prefix])
    build = build_consumer(lab, "find_package", lab.path("build"), f"-DCMAKE_PREFIX_PATH={prefix}")
    serves_a_profile(lab, f"{build}/service")
    sees_its_coroutine(lab, f"{build}/asio_service")
    registered = lab.run([f"{build}/absl_service"])
    check((registered.status, registered.out) == (0, "registered\n"), f"{registered.out}{registered.err}")
    fails_for_what_is_left(lab, f"{build}/leftover_tests")
    exposes_both(lab, f"{build}/own_exposer")
    is_served_beside_an_exposer(lab, f"{build}/exposer_service")
    counted = lab.run([f"{build}/service_static_core"])
    check(counted.status == 0, f"a service with heldby::core_static: {counted.status}\n{counted.out}{counted.err}")


def test_an_installed_heldby_runs_programs(lab):
    prefix = lab.path("prefix")
    lab.run_ok([need("cmake"), "--install", lab.build, "--prefix", prefix])
    done = lab.run([f"{prefix}/bin/heldby", "run", "--sample-bytes=1", f"--dump-at-exit={lab.path('%p.pb.gz')}", "--",
                    "/usr/bin/python3", "-c", "print('output'); exit(5)"])
    check((done.status, done.out) == (5, "output\n"), f"{done.status} {done.out!r}\n{done.err}")
    check([name for name in os.listdir(lab.tmp) if name.endswith(".pb.gz")], f"no profile was written\n{done.err}")


def test_add_subdirectory_gives_a_service_its_endpoint(lab):
    # The whole library is built again, without optimisation, and in a folder that stays: the next run finds it made.
    build = build_consumer(lab, "add_subdirectory", os.path.join(lab.build, "tests", "add_subdirectory"),
                           f"-DHELDBY_SOURCE_DIR={lab.source}", "-DCMAKE_CXX_FLAGS=-O0")
    serves_a_profile(lab, f"{build}/service")
    sees_its_coroutine(lab, f"{build}/asio_service")


# Two minutes on two cores that do nothing else; CMakeLists.txt gives it both.
test_add_subdirectory_gives_a_service_its_endpoint.seconds = 880


if __name__ == "__main__":
    run(globals())
