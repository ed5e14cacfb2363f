"""heldby top, diff and text print what the real `go tool pprof` prints, letter by letter, of the same files."""

import os
import random

from harness import Failure, check, need, run
from profile_writer import COLUMNS, random_profile
from shape_test import Server

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden")
# Each is fine together with each of the other list.
FIRST = [[], ["-cum"], ["-nodecount=3"], ["-nodecount=7", "-cum"], ["-nodefraction=0.1"], ["-edgefraction=0.3"], ["-lines"],
         ["-addresses"], ["-files"], ["-filefunctions"], ["-noinlines"], ["-sample_index=0"], ["-drop_negative"]]
SECOND = [[], ["-unit=kb"], ["-unit=ms"], ["-unit=auto"], ["-focus=re|main"], ["-ignore=malloc"], ["-hide=foo"],
          ["-show=foo|src/a"], ["-tagfocus=route=/a"], ["-tagignore=peer"], ["-tagfocus=bytes=1kb:2mb"], ["-tagfocus=4kb:"],
          ["-tagfocus=1234"], ["-tagroot=route"], ["-tagroot=peer,bytes"]]


def same(lab, command, *arguments, go_only=()):
    """The two outputs are one. Returns it."""
    flag = {"top": "-top", "text": "-traces"}[command]
    env = lab.go_env()
    env["TZ"] = "UTC"  # both print local time
    theirs = lab.run_ok([need("go"), "tool", "pprof", flag, *go_only, *arguments], env=env)
    ours = lab.run_ok([lab.heldby, command, *arguments], env=env)
    if ours.out == theirs.out:
        return ours.out
    for number, (a, b) in enumerate(zip(ours.out.splitlines() + [""], theirs.out.splitlines() + [""])):
        if a != b:
            raise Failure(f"heldby {command} {' '.join(arguments)}, line {number + 1}:\n ours: {a}\nGo's:  {b}")
    raise Failure(f"heldby {command} {' '.join(arguments)}:\n{ours.out}\nGo's:\n{theirs.out}")


def write(lab, name, content):
    path = lab.path(name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def test_heldby_top_and_text_agree_with_go_tool_pprof_on_profiles_made_up_at_random(lab):
    rows = 0
    for seed in range(50):
        rng = random.Random(seed)
        columns = (rng.randrange(len(COLUMNS)), rng.randrange(1, 5))
        files = [write(lab, f"{i}.pb.gz", random_profile(seed * 10 + i, columns)) for i in range(3)]
        options = rng.choice(FIRST) + rng.choice(SECOND)
        if rng.random() < 0.3:
            options += rng.choice([[f"-base={files[1]}"], [f"-diff_base={files[1]}"],
                                   [f"-diff_base={files[1]}", "-normalize"]])
        sources = [files[0], files[2]] if rng.random() < 0.3 else [files[0]]
        rows += same(lab, rng.choice(["top", "top", "text"]), *options, *sources).count("\n")
    check(rows > 1000, f"only {rows} lines were compared")


def test_heldby_top_and_text_agree_with_go_tool_pprof_on_profiles_of_a_server(lab):
    server = Server(lab)
    names = ["heap", "allocs", "goroutine", "connections", "mutex", "threadcreate", "delta_heap", "heap?labels=all",
             "heap?frames=all", "profile?seconds=1", "heap?seconds=1"]
    for name in names:
        file = lab.path("saved.pb.gz")
        lab.run_ok([lab.heldby, "fetch", "-o", file, server.debug, name])
        for options in ([], ["-cum", "-nodecount=5"], ["-lines"], ["-tagroot=peer"]):
            same(lab, "top", *options, file)
        same(lab, "text", file)
        same(lab, "top", "-diff_base", file, file)
        if name in ("heap", "allocs"):
            for column in ("-inuse_objects", "-alloc_space", "-alloc_objects", "-sample_index=0"):
                check("ReadWhole" in same(lab, "top", column, file), f"{name} {column} names nobody")


def test_heldby_top_agrees_with_go_tool_pprof_on_the_formats_of_gperftools_and_go(lab):
    names = ["count.txt", "cpu32be.prof", "cpu64.prof", "growth.txt", "heap_v2.txt", "heapprofile.txt", "mutex.txt"]
    for name in names:
        # Whether Go finds a symbol depends on the machine it runs on: addresses are compared.
        same(lab, "top", os.path.join(GOLDEN, name), go_only=["-symbolize=none"])
        same(lab, "text", "-addresses", os.path.join(GOLDEN, name), go_only=["-symbolize=none"])


def test_heldby_diff_is_top_with_a_base(lab):
    files = [write(lab, f"{i}.pb.gz", random_profile(70 + i, (2, 3))) for i in range(2)]
    for flag, words in (("-base", []), ("-diff_base", ["-diff_base"])):
        wanted = same(lab, "top", flag, files[0], files[1])
        done = lab.run_ok([lab.heldby, "diff", *words, *files], env={**lab.go_env(), "TZ": "UTC"})
        check(done.out == wanted, f"diff {words}:\n{done.out}\ntop {flag}:\n{wanted}")


def test_heldby_top_fetches_from_a_server_and_a_process(lab):
    server = Server(lab)
    host = server.debug.removeprefix("http://")
    for source in (host, f"{server.debug}/debug/pprof/heap"):
        done = lab.run_ok([lab.heldby, "top", source])
        check("ReadWhole" in done.out and "Type: inuse_space" in done.out, done.out)
    sleeper = lab.start([lab.heldby, "run", "--", "/bin/sleep", "60"])
    lab.served_address(sleeper.pid)
    done = lab.run_ok([lab.heldby, "top", str(sleeper.pid)])
    check("File: sleep" in done.out, done.out)


def test_heldby_reports_name_what_is_wrong(lab):
    good = write(lab, "good.pb.gz", random_profile(1, (2, 3)))
    bad = write(lab, "bad.pb.gz", b"this is no profile")
    cut = write(lab, "cut.pb.gz", random_profile(1, (2, 3))[:-20])
    other = write(lab, "other.pb.gz", random_profile(1, (5, 1)))
    for status, words, wanted in [
            (2, ["top"], "needs a FILE"), (2, ["diff", good], "OLD and NEW"), (2, ["top", "-nonsense", good], "-nonsense"),
            (2, ["top", "-nodecount=x", good], "-nodecount"), (2, ["top", "-nodefraction", "7", good], "from 0 to 1"),
            (2, ["top", "-base", good, "-diff_base", good, good], "cannot both"), (2, ["top", "-normalize", good], "-base"),
            (2, ["top", "-unit"], "-unit"), (1, ["top", bad], "bad.pb.gz"), (1, ["text", cut], "cut.pb.gz"),
            (1, ["top", lab.path("absent")], "neither a file nor an address"), (1, ["top", "-focus=(", good], "focus"),
            (1, ["top", "-sample_index=nope", good], "nope"), (1, ["diff", good, other], "sample types"),
            (1, ["top", "-tagfocus=a=[", good], "tagfocus"), (1, ["top", "4194304999"], "4194304999")]:
        done = lab.run([lab.heldby, *words])
        check(done.status == status and wanted in done.err and done.out == "",
              f"heldby {words}: {done.status}, wanted {status} and {wanted!r}\n{done.out}{done.err}")
    no_match = lab.run_ok([lab.heldby, "top", "-focus=NoSuchFunctionAnywhere", good])
    check("focus expression matched no samples" in no_match.err, no_match.err)


if __name__ == "__main__":
    run(globals())
