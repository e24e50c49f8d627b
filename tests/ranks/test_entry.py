"""A rank does not outlive the harness that started it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from suite.ranks.entry import HARNESS

CODE = "from suite.ranks.entry import _end_if_orphaned; _end_if_orphaned(); print('goes on')"


def _dead() -> int:
    """The number of a process that has been."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(("harness", "goes_on"), [("own", True), ("dead", False), ("", True)])
def test_a_harness_that_died_before_its_rank_began(harness: str, goes_on: bool) -> None:
    """Its parent's death signal was asked for too late to come."""
    named = {"own": str(os.getpid()), "dead": str(_dead())}.get(harness)
    environment = os.environ | ({HARNESS: named} if named else {})
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, text=True,
                          capture_output=True, check=False)
    assert (done.returncode == 0, done.stdout == "goes on\n") == (goes_on, goes_on)
