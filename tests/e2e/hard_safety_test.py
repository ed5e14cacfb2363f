"""docs/safety.md and the source agree: tests, symbols, environment variables, names of threads."""

import os
import re

from harness import check, read_text, run


def sources(lab, *rooms, endings=(".cc", ".h")):
    """path -> text"""
    found = {}
    for room in rooms:
        for folder, _, names in os.walk(os.path.join(lab.source, room)):
            for name in names:
                if name.endswith(endings):
                    found[os.path.join(folder, name)] = read_text(os.path.join(folder, name))
    return found


def safety(lab):
    return read_text(os.path.join(lab.source, "docs/safety.md"))


def part(lab, name):
    """What stands in backquotes between <!-- name --> and <!-- end -->."""
    found = re.search(rf"<!-- {name}.*?-->(.*?)<!-- end -->", safety(lab), re.DOTALL)
    check(found, f"docs/safety.md has no part {name}")
    return re.findall(r"`([^`]+)`", found[1])


def check_same(what, told, there):
    check(sorted(set(told)) == sorted(there), f"{what}: docs/safety.md lacks {sorted(set(there) - set(told))}, "
          f"and the source {sorted(set(told) - set(there))}")


def test_the_safety_page_lists_every_symbol_that_is_wrapped(lab):
    text = re.sub(r"/\*.*?\*/", "", read_text(os.path.join(lab.source, "lib/core/exports.map")), flags=re.DOTALL)
    there = set(re.findall(r"(\w+);", text.partition("global:")[2].partition("local:")[0]))
    check_same("symbols", part(lab, "symbols"), there)


def test_the_safety_page_lists_every_environment_variable_that_is_read(lab):
    read = set()
    for path, text in sources(lab, "lib", "exporters").items():
        read |= set(re.findall(r'(?:getenv|Setting|Variable)\("(\w+)"', text))
        unnamed = re.findall(r"(?:getenv|core::Setting)\((?!\")(\w+)", text)
        check(set(unnamed) <= {"name"}, f"{path}: a variable whose name is not in the call: {unnamed}")
    check_same("environment", part(lab, "environment"), read)


def test_the_safety_page_lists_every_thread_by_its_name(lab):
    names = set()
    for text in sources(lab, "lib", "exporters").values():
        names |= set(re.findall(r'(?:pthread_setname_np|StartThread|PR_SET_NAME)\([^;]*?"([\w-]+)"', text))
    told = [name for name in part(lab, "threads") if name.startswith("heldby-")]
    check_same("threads", told, names)
    check(all(len(name) <= 15 for name in names), f"longer than the kernel keeps: {names}")


def test_every_test_that_the_safety_page_names_exists(lab):
    there = set()
    for text in sources(lab, "tests", endings=(".cc", ".py")).values():
        there |= set(re.findall(r"^def test_(\w+)\(", text, re.MULTILINE))
        there |= set(re.findall(r"^TEST(?:_F|_P)?\(\w+,\s*(\w+)\)", text, re.MULTILINE))
    promises = safety(lab).partition("## Promises")[2].partition("## What is different")[0]
    rows = [line.rsplit("|", 2)[1] for line in promises.splitlines() if line.startswith("|") and "`" in line]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    check(len(named) > 50, f"{len(named)} tests are named")
    missing = [name for name in named if name not in there]
    check(not missing, f"there is no {missing}")


if __name__ == "__main__":
    run(globals())
