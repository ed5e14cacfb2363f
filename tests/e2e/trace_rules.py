"""The rules of the trace event format, checked on a file as it is served: what a viewer may rely on.

Source: Chrome's Trace Event Format, and what Perfetto's importer of it requires. Used by trace_test.py, and by hand:
  trace_rules.py FILE
"""

import collections
import gzip
import json
import sys


class BrokenRule(Exception):
    """Which rule, and the event that breaks it."""


def need(condition, what, event=None):
    if not condition:
        raise BrokenRule(f"{what}: {json.dumps(event)}" if event is not None else what)


class TraceFile:
    """A trace whose every rule holds."""

    PHASES = {"M", "B", "E", "b", "e", "s", "f", "i"}

    def __init__(self, data):
        need(data[:2] == b"\x1f\x8b", "the body is gzip")
        # Strict: bytes that are no UTF-8 raise, and so do NaN and other numbers that JSON does not have.
        text = gzip.decompress(data).decode("utf-8")
        self.document = json.loads(text, parse_constant=lambda word: need(False, f"{word} is no number of JSON"),
                                   object_pairs_hook=self._pairs)
        self.events = self.document["traceEvents"]
        self.other = self.document["otherData"]
        for event in self.events:
            self._check_fields(event)
        self._check_order()
        self._check_threads()
        self._check_lives()
        self._check_flows()

    @staticmethod
    def _pairs(pairs):
        need(len({key for key, _ in pairs}) == len(pairs), "no key is there twice", pairs)
        return dict(pairs)

    def _check_fields(self, event):
        need(event.get("ph") in self.PHASES, "a known phase", event)
        for field in ("pid", "tid"):
            need(isinstance(event.get(field), int), f"{field} is a number", event)
        need(isinstance(event.get("ts"), (int, float)) and event["ts"] >= 0, "ts is a number", event)
        if event["ph"] != "E":
            need(isinstance(event.get("name"), str) and event["name"], "a name", event)
        if event["ph"] not in "EM":
            need(isinstance(event.get("cat"), str) and event["cat"], "a category", event)
        if event["ph"] in "be":
            need(isinstance(event["id2"]["local"], str) and int(event["id2"]["local"], 16) > 0, "an id", event)
        if event["ph"] == "i":
            need(event.get("s") in ("g", "p", "t"), "an instant has a scope", event)
        for key, value in event.get("args", {}).items():
            need(key and isinstance(value, str), "arguments are texts", event)
        need(len({one["pid"] for one in self.events}) == 1, "one process", event) if event is self.events[0] else None

    def _check_order(self):
        last = 0
        for event in self.events:
            if event["ph"] == "M":
                continue
            need(event["ts"] >= last, "events are in the order of time", event)
            last = event["ts"]
        need(last <= self.other["duration_ns"] / 1000 + 0.001, "nothing is after the end")

    def _check_threads(self):
        """B and E nest on each thread, and each begin has its end."""
        self.runs = []  # (tid, name, begin, end, depth, args)
        open_runs = collections.defaultdict(list)
        for event in self.events:
            if event["ph"] == "B":
                open_runs[event["tid"]].append(event)
            elif event["ph"] == "E":
                need(open_runs[event["tid"]], "an E has its B", event)
                begun = open_runs[event["tid"]].pop()
                self.runs.append((event["tid"], begun["name"], begun["ts"], event["ts"], len(open_runs[event["tid"]]),
                                  begun.get("args", {})))
        for tid, left in open_runs.items():
            need(not left, f"every B of thread {tid} has its E", left)
        self.thread_names = {event["tid"]: event["args"]["name"] for event in self.events
                             if event["ph"] == "M" and event["name"] == "thread_name"}
        for tid, *_ in self.runs:
            need(tid in self.thread_names, f"thread {tid}, which runs something, has a name")

    def _check_lives(self):
        """b and e nest for each id, with the same name and category: the outermost is the life, the rest states."""
        self.lives = []
        open_lives = collections.defaultdict(list)
        seen = set()
        for event in self.events:
            if event["ph"] == "b":
                key = event["id2"]["local"]
                depth = len(open_lives[key])
                need(depth <= 1, "a state has no state", event)
                need(depth == 1 or key not in seen, "no two lives have the same id", event)
                seen.add(key)
                open_lives[key].append({"event": event, "states": []})
            elif event["ph"] == "e":
                stack = open_lives[event["id2"]["local"]]
                need(stack, "an e has its b", event)
                one = stack.pop()
                begun = one["event"]
                need((begun["name"], begun["cat"]) == (event["name"], event["cat"]), "b and e have one name", event)
                if stack:
                    stack[-1]["states"].append((begun["name"], begun["ts"], event["ts"]))
                else:
                    self.lives.append(Life(begun, event, one["states"]))
        for key, left in open_lives.items():
            need(not left, f"every b of {key} has its e")

    def _check_flows(self):
        begun = {}
        for event in self.events:
            if event["ph"] == "s":
                need(event["id"] not in begun, "a flow begins once", event)
                begun[event["id"]] = event
            elif event["ph"] == "f":
                need(begun.pop(event["id"], None), "a flow has begun before it ends", event)
                need(event.get("bp") == "e", "a flow ends in the slice around it", event)
        need(not begun, f"{len(begun)} flows that end nowhere")

    def of(self, category, name=None):
        return [life for life in self.lives if life.category == category and name in (None, life.name)]


class Life:
    """A task, a connection or a thread from its beginning to its end, with the states in between."""

    def __init__(self, begin, end, states):
        self.category, self.name = begin["cat"], begin["name"]
        self.begin_us, self.end_us = begin["ts"], end["ts"]
        self.args = begin.get("args", {}) | end.get("args", {})
        self.states = states

    def state_names(self):
        return {name for name, _, _ in self.states}


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        trace = TraceFile(file.read())
    print(trace.other)
    for life in trace.lives[:60]:
        print(life.category, life.name, life.begin_us, life.end_us, life.args, life.states[:6])
    print(trace.runs[:20], trace.thread_names)
