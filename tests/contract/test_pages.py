"""A fork that holds the pages that its parent holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork(2) and madvise(2) of Linux")
# Of a fork, and of one that holds its parent's pages: resident pages of files and private ones as
# shares of the parent's, and faults in a look at every object.
CODE = """
import gc, json, os, resource
import numpy
from suite.contract.pages import hold, own_pages

def resident():
    lines = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
    return [int(lines[name].split()[0]) for name in ("RssFile", "RssAnon")]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages, own = own_pages(), resident()
for held in (False, True):
    if not os.fork():
        if held:
            hold(pages)
        shares = [mine / its for mine, its in zip(resident(), own)]
        print(json.dumps([*shares, faults()]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_a_fork_has_its_parents_pages() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True,
                          check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (files, _, faults), (its_files, private, its_faults) = map(json.loads, done.stdout.splitlines())
    assert files < 0.6 and faults > 500
    assert 0.97 < its_files < 1.1 and 0.97 < private < 1.1 and its_faults < 100


def test_pages_that_were_given_back_are_left_out() -> None:
    code = ("import mmap\nfrom suite.contract.pages import hold, own_pages\n"
            "held = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
            "held.write(bytes(1 << 20))\npages = own_pages()\nheld.close()\nhold(pages)\n")
    subprocess.run([sys.executable, "-c", code], check=True)
