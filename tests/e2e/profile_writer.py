"""Profiles made up for a test: profile.proto without anybody's library, and random ones from a seed."""

import gzip
import random


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def block(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


class Writer:
    """Numbers strings; tables are lists of encoded messages."""

    def __init__(self):
        self.strings = {"": 0}
        self.parts = []

    def text(self, value):
        return self.strings.setdefault(value, len(self.strings))

    def add(self, field, *fields):
        self.parts.append(block(field, b"".join(fields)))

    def value_type(self, field, kind, unit):
        self.add(field, number(1, self.text(kind)), number(2, self.text(unit)))

    def scalar(self, field, value):
        self.parts.append(number(field, value))

    def finish(self):
        strings = b"".join(block(6, text.encode()) for text in self.strings)
        return gzip.compress(b"".join(self.parts) + strings, mtime=0)


# (name, system name): what pprof shortens itself, and what it must leave alone.
NAMES = [
    ("main", "main"), ("start", ""), ("_ZN3foo3BarIiE3runEv", "_ZN3foo3BarIiE3runEv"),
    ("_ZNSt6vectorIiSaIiEE9push_backERKi", "_ZNSt6vectorIiSaIiEE9push_backERKi"), ("", "_ZN5cache3putEi"),
    ("foo::Bar<int>::run(char*)", "foo::Bar<int>::run(char*)"), ("foo::Baz<int>::run(char*)", "_ZN3foo3Baz"),
    ("(anonymous namespace)::Serve", "(anonymous namespace)::Serve"), ("operator new[](unsigned long)", "_Znam"),
    ("operator new", "_Znwm"), ("malloc", "malloc"), ("tcmalloc::allocate(int)", "x"), ("do_work(void)", "do_work(void)"),
    ("example.com/pkg.(*Pool[...]).Get", "example.com/pkg.(*Pool[...]).Get"), ("java.util.List.<init>", "java.util.List.<init>"),
    ("a::b(int)::{lambda()#1}::operator()() const", "a::b(int)::{lambda()#1}::operator()() const"),
    ("mismatched>::name<", "mismatched>::name<"), ("recurse", "recurse"), ("f", "f"), ("_Zbroken", "_Zbroken"), ("", ""),
]
COLUMNS = [("samples", "count"), ("cpu", "nanoseconds"), ("space", "bytes"), ("delay", "microseconds"),
           ("inuse_space", "bytes"), ("widgets", "widgets"), ("wall", "seconds"), ("load", "gcu"), ("alloc_space", "kilobytes")]
DROPS = ["", "", "malloc|operator new(\\[\\])?|tcmalloc::.*", "re.*", "main"]


def write_tables(rng, out):
    mappings = rng.randrange(4)
    for i in range(mappings):
        name = rng.choice(["/srv/app", "/usr/lib/libc.so.6", "[heldby]", "", "/opt/a b/tool"])
        out.add(3, number(1, i + 1), number(2, 0x1000 * 16 * (i + 1)), number(3, 0x1000 * 16 * (i + 2)),
                number(5, out.text(name)), number(6, out.text(rng.choice(["", "abc123"]) + (str(i) if i else ""))),
                *(number(field, 1) for field in (7, 8, 9, 10)))
    for i, (name, system) in enumerate(NAMES):
        out.add(5, number(1, i + 1), number(2, out.text(name)), number(3, out.text(system)),
                number(4, out.text(rng.choice(["", "/src/a.cc", "/src/./b/../b.cc", "rel/c.cc"]))), number(5, rng.randrange(20)))
    locations = rng.randrange(1, 40)
    for i in range(locations):
        mapping = rng.randrange(mappings + 1)
        lines = [block(4, number(1, rng.randrange(len(NAMES)) + 1) + number(2, rng.randrange(50)))
                 for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))]
        out.add(4, number(1, i + 1), number(2, mapping), number(3, 0x10000 * max(mapping, 1) + 16 * i + 1), *lines)
    return locations


def labels(rng, out):
    parts = []
    if rng.random() < 0.4:
        parts.append((out.text(rng.choice(["route", "peer"])), out.text(rng.choice(["/a", "/b", "1234", "x y"])), 0, 0))
    if rng.random() < 0.4:
        parts.append((out.text("bytes"), 0, rng.choice([16, 4096, 1 << 20, 3 << 29]), out.text(rng.choice(["bytes", ""]))))
    if rng.random() < 0.2:
        parts.append((out.text("age"), 0, rng.randrange(1, 1 << 40), out.text("nanoseconds")))
    return [block(3, b"".join(number(i + 1, value) for i, value in enumerate(part))) for part in parts]


def value(rng, negative):
    size = rng.choice([0, rng.randrange(1, 10), rng.randrange(1 << 20), rng.randrange(1 << 45)])
    return -size if negative and rng.random() < 0.3 else size


def random_profile(seed, columns=None):
    """Columns: how many of COLUMNS, from which on; profiles that shall merge have the same."""
    rng = random.Random(seed)
    out = Writer()
    first, count = columns or (rng.randrange(len(COLUMNS)), rng.randrange(1, 5))
    types = [COLUMNS[(first + i) % len(COLUMNS)] for i in range(count)]
    for kind, unit in types:
        out.value_type(1, kind, unit)
    locations = write_tables(rng, out)
    negative = rng.random() < 0.3
    for _ in range(rng.randrange(60)):
        stack = b"".join(varint(rng.randrange(locations) + 1) for _ in range(rng.randrange(12)))
        values = b"".join(varint(value(rng, negative)) for _ in types)
        out.add(2, *([block(1, stack)] if stack else []), block(2, values), *labels(rng, out))
    out.scalar(7, out.text(rng.choice(DROPS)))
    out.scalar(8, out.text(rng.choice(["", "", "recurse"])))
    out.scalar(9, rng.choice([0, 1700000000123456789, 1720000000999999999]))
    out.scalar(10, rng.choice([0, 1, 10_020_000_000, 90_000_000_000, 7200_000_000_000]))
    out.value_type(11, "cpu", "nanoseconds")
    out.scalar(12, 10_000_000)
    for comment in rng.sample(["shown in the report", "# not shown", "second"], rng.randrange(3)):
        out.scalar(13, out.text(comment))
    if rng.random() < 0.3:
        out.scalar(14, out.text(types[0][0]))
    return out.finish()
