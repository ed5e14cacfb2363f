#!/usr/bin/env python3
"""Runs the programs of the corpus and judges /debug/leaks by them: the confusion table, and the time to verdict.

  tests/corpus/judge.py BUILD_FOLDER [--seeds=20] [--jobs=8] [--seconds=40] [--only=PART_OF_NAME] [--first-seed=1]

A second of a program is a minute of a service: the shortest window is 10 s here, and ten minutes there. Judged is what
the page says when the program has run for --seconds: of a leak it has to be LEAK, with a stack through the marked line
(or, of a forgotten task, the line that made it); of a healthy program nothing may be LEAK. What the page says before
that is shown, too: how soon a leak was named, and for how long a healthy program was called one.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request

WINDOW_S = 10
HERE = os.path.dirname(os.path.abspath(__file__))
# Growth that is shown by what is done with it, and not by where its bytes come from.
BY_KIND = {"leak_forgotten_task": "piling_tasks", "leak_forgotten_coroutine": "piling_tasks",
           "leak_forgotten_body": "unread_responses"}


def marked_lines(name):
    with open(os.path.join(HERE, name + ".cc"), encoding="utf-8") as file:
        return {number for number, line in enumerate(file, 1) if "// leak" in line and not line.startswith("//")}


def names_it(verdict, name, lines):
    frames = [frame for stack in verdict["stacks"] for frame in stack["frames"]]
    places = {int(number) for frame in frames for number in re.findall(rf"{name}\.cc:(\d+)", frame)}
    near = {line + off for line in lines for off in (-1, 0, 1)}  # of a call that ends a function, the line behind
    return bool(places & near) or (verdict["kind"] == BY_KIND.get(name) and bool(places))


def fetch(address):
    with urllib.request.urlopen(address + "/debug/leaks?format=json", timeout=30) as reply:
        return json.load(reply)


def run_one(build, name, seed, seconds):
    """What was said at each second: time, and the verdicts that are leaks."""
    env = dict(os.environ, HELDBY_SAMPLE_BYTES="16384", HELDBY_LEAKS_WINDOW=f"{WINDOW_S}s")
    process = subprocess.Popen([os.path.join(build, "bin", "corpus", name), f"--seed={seed}", f"--seconds={seconds + 3}"],
                               stdout=subprocess.PIPE, text=True, env=env)
    begin = time.monotonic()
    try:
        address = re.search(r"serving (http://\S+)", process.stdout.readline())[1]
        said = []
        while True:
            time.sleep(min(1, max(0.05, begin + seconds - time.monotonic())))
            report = fetch(address)
            said.append((time.monotonic() - begin, report["verdicts"]))
            if said[-1][0] >= seconds:
                return said
    finally:
        process.kill()
        process.wait()


def judge(build, name, seed, seconds):
    lines = marked_lines(name)
    is_leak = name.startswith("leak_")
    first, alarms, of_which = None, 0, collections.Counter()
    said = run_one(build, name, seed, seconds)
    for at, verdicts in said:
        leaks = [verdict for verdict in verdicts if verdict["class"] == "leak"]
        if is_leak and first is None and any(names_it(verdict, name, lines) for verdict in leaks):
            first = at
        alarms += bool(leaks)
        of_which.update(verdict["summary"][:110] for verdict in leaks)
    last = [verdict for verdict in said[-1][1] if verdict["class"] == "leak"]
    right = any(names_it(verdict, name, lines) for verdict in last) if is_leak else not last
    beside = [verdict for verdict in last if is_leak and not names_it(verdict, name, lines)]
    why = "" if right else "; ".join(f"{verdict['class']}: {verdict['summary'][:160]} ({verdict['evidence'][:240]})"
                                     for verdict in (last or said[-1][1][:3]))
    return {"name": name, "seed": seed, "right": right, "first": first, "alarms": alarms, "polls": len(said),
            "beside": [verdict["summary"][:160] for verdict in beside], "why": why}


def show(results):
    print(f"{'program':28} right  first verdict: median, last   polls with an alarm")
    by_name = collections.defaultdict(list)
    for result in results:
        by_name[result["name"]].append(result)
    for name, runs in sorted(by_name.items()):
        times = [run["first"] for run in runs if run["first"] is not None]
        median = f"{statistics.median(times):5.1f} s {max(times):5.1f} s" if times else "      -       -"
        share = sum(run["alarms"] for run in runs) / sum(run["polls"] for run in runs)
        print(f"{name:28} {sum(run['right'] for run in runs):2}/{len(runs):<2}  {median:>30}   {share:6.1%}")
    leaks = [result for result in results if result["name"].startswith("leak_")]
    healthy = [result for result in results if not result["name"].startswith("leak_")]
    found, clean = sum(r["right"] for r in leaks), sum(r["right"] for r in healthy)
    print(f"\n                 called a leak   not\nleak             {found:13}  {len(leaks) - found:4}\n"
          f"healthy          {len(healthy) - clean:13}  {clean:4}")
    for result in results:
        if not result["right"]:
            print(f"WRONG {result['name']} seed {result['seed']}: {result['why']}")
        for summary in result["beside"]:
            print(f"beside the leak, {result['name']} seed {result['seed']}: {summary}")
    return found == len(leaks) and clean == len(healthy)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    names = sorted(name[:-3] for name in os.listdir(HERE) if re.match(r"(leak|healthy)_\w+\.cc$", name))
    names = [name for name in names if arguments.only in name]
    todo = [(name, seed) for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds) for name in names]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda job: judge(arguments.build, *job, arguments.seconds), todo))
    return 0 if show(results) else 1


if __name__ == "__main__":
    sys.exit(main())
