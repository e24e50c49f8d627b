"""A fork that holds the pages of files that its parent holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork(2) and madvise(2) of Linux")
# The fork's resident pages of files as a share of the parent's, before and after.
CODE = """
import os
import numpy
from suite.ranks.pages import hold, pages_of_files

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

runs, own = pages_of_files(), resident()
if not os.fork():
    before = resident()
    hold(runs)
    print(before / own, resident() / own)
    os._exit(0)
os.wait()
"""


def test_a_fork_has_its_parents_pages_of_files() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True,
                          check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    before, after = map(float, done.stdout.split())
    assert before < 0.6 and 0.97 < after < 1.1
