"""A program beside the run is seen, named and sized."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

import psutil
import pytest

from suite.analysis.doubts import Conditions, find_warnings
from suite.contract.case import Case
from suite.contract.row import Row
from suite.machine.calibration import Block, Calibration, core_times
from suite.machine.devices import allowed_cores
from suite.machine.neighbours import Usage, neighbours, others_cores, usage

SPIN = "import time\nwhile True: pass"
CASE = Case("fake", "numpy", "single", "", "mlp", "tiny", "synthetic", "cpu", 1)


def test_shares_are_of_the_time_in_between() -> None:
    before = Usage({(1, 0.0): ("old", 10.0), (3, 0.0): ("gone", 5.0)}, 1.0)
    after = Usage({(1, 0.0): ("old", 14.0), (2, 9.0): ("new", 1.0), (4, 0.0): ("idle", 0.01)}, 2.0)
    found = neighbours(before, after, 5.0)
    assert [(one.name, one.pid, one.cores) for one in found] == [("old", 1, 0.8), ("new", 2, 0.2)]


def test_an_id_that_is_another_process_now_counts_from_its_start() -> None:
    before = Usage({(1, 0.0): ("old", 100.0)}, 0.0)
    (found,) = neighbours(before, Usage({(1, 7.0): ("new", 2.0)}, 0.0), 4.0)
    assert (found.name, found.cores) == ("new", 0.5)


def test_what_came_and_went_counts_as_others() -> None:
    """Two cores busy for 8 of 10 s, 5 s of that our own and our children's."""
    idle = {"user": 0.0, "system": 0.0, "idle": 0.0, "steal": 0.0}
    busy = {"user": 3.0, "system": 1.0, "idle": 5.0, "steal": 1.0}
    nobody = {(1, 0.0): ("nobody", 0.0)}
    found = others_cores(Usage(nobody, 1.0), Usage(nobody, 6.0), [idle] * 2, [busy] * 2, 10.0)
    assert found == pytest.approx(0.3)
    assert others_cores(Usage({}, 1.0), Usage({}, 6.0), [], [], 10.0) is None


def test_a_real_process_beside_the_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the run's own children; the stranger is nobody's, as what another shell has started."""
    monkeypatch.setattr("suite.machine.neighbours.NAMED_AT_MOST", 1000)
    calibration = Calibration(allowed_cores())
    calibration.usage, calibration.times = usage(), core_times(calibration.cores)
    calibration.began = time.monotonic()
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(SPIN)} >/dev/null & echo $!"
    told = subprocess.run(["sh", "-c", shell], stdout=subprocess.PIPE, text=True, check=True)
    spinning = psutil.Process(int(told.stdout.split()[0]))
    own = subprocess.Popen([sys.executable, "-c", "sum(range(10**7))"])
    try:
        own.wait()
        time.sleep(1.0)
        block = Block(0, [])
        calibration.end(block)
    finally:
        spinning.kill()
    named = {one["pid"]: one["cores"] for one in block.neighbours}
    assert named[spinning.pid] > 0.1 and own.pid not in named
    assert block.others_cores is not None and block.others_cores > 0.1


def test_the_warning_names_them_and_quiet_blocks_have_none() -> None:
    row = Row(case_id="a", status="ok", repeats=6, step_time_s=1.0, step_time_ci_low_s=1.0,
              step_time_ci_high_s=1.0, launch_step_s=[1.0], noise_cv=0.0)
    block = {"block": 0, "rates": [], "steal_share": 0.0, "gpus": [], "others_cores": 0.9,
             "neighbours": [{"name": "make", "pid": 7, "cores": 0.8}]}

    def codes(**more: object) -> dict[str, str]:
        found = find_warnings(CASE, [], [], row, Conditions([block | more]), False)
        return {one.code: one.message for one in found}

    assert codes()["neighbours"] == (
        "other programs kept 0.90 cores busy beside the launches: make (process 7) 0.80")
    assert "neighbours" not in codes(others_cores=0.05) | codes(others_cores=None)


def test_forks_of_a_process_that_lives_on_are_our_own() -> None:
    """As ranks are that a nursery has started: it has waited for them, and lives."""
    code = ("import os, sys, time\n"
            "if not os.fork():\n"
            "    ends = time.process_time() + 0.3\n"
            "    while time.process_time() < ends: pass\n"
            "    os._exit(0)\n"
            "os.wait(); print('done', flush=True); sys.stdin.read()\n")
    before = usage()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"done\n"
        after = usage()
        process.communicate()
    assert after.own_s - before.own_s >= 0.28
    assert process.pid not in {pid for pid, _ in after.processes}
    ended = usage()
    assert 0.0 <= ended.own_s - after.own_s < 0.25
