"""A folder for HELDBY_DUMP_DIR, and what is in it."""

import contextlib
import os
import shutil
import tempfile


@contextlib.contextmanager
def folder_on_disk(lab):
    """/tmp may be memory, where nothing is written."""
    folder = tempfile.mkdtemp(prefix="oom-test-", dir=lab.build)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def files(folder, ending):
    return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(ending))
