"""The machine's rates and conditions."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from suite.machine import calibration
from suite.machine.calibration import (
    Block,
    Calibration,
    CoreRate,
    core_times,
    load_average,
    measure_cores,
    steal_share,
)
from suite.machine.devices import allowed_cores
from suite.machine.gpus import Gpu


def test_every_core_in_about_a_second() -> None:
    cores = allowed_cores()
    began = time.perf_counter()
    found = measure_cores(cores)
    assert time.perf_counter() - began < 5.0  # alone it takes 0.5 s
    assert [rate.device for rate in found] == [f"cpu{core}" for core in cores]
    # No core computes below 100 MFLOP/s or above 10 TFLOP/s, nor copies below 10 MB/s.
    assert all(1e8 < rate.matmul_flops_s < 1e13 for rate in found)
    assert all(1e7 < rate.copy_bytes_s < 1e12 for rate in found)


def test_planted_steal() -> None:
    before = [{"user": 10.0, "idle": 10.0, "steal": 1.0, "guest": 5.0}] * 2
    after = [{"user": 16.0, "idle": 12.0, "steal": 3.0, "guest": 9.0}] * 2
    assert steal_share(before, after) == pytest.approx(0.2)
    assert steal_share(before, before) == 0.0
    assert steal_share([{"user": 1.0}], [{"user": 2.0}]) is None


def test_a_block_of_this_machine() -> None:
    calibration = Calibration(allowed_cores()[:1])
    block = calibration.begin(3)
    time.sleep(0.2)
    calibration.end(block)
    assert block.block == 3 and 0.15 < block.seconds < 10 and block.load >= 0
    assert block.steal_share is None or 0.0 <= block.steal_share <= 1.0
    assert core_times(allowed_cores()[:1])[0]["user"] > 0


def test_a_gpu_that_slowed_within_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state afterwards, when it is idle again, is not what is told where the driver counts."""
    counted = {"thermal": 7, "power": 0}
    monkeypatch.setattr(
        calibration, "usable_gpus", lambda: [Gpu(0, "Card", slowed_ns=dict(counted), reasons=0x8)]
    )
    machine = Calibration(allowed_cores()[:1])
    quiet = machine.begin(1)
    machine.end(quiet)
    assert quiet.gpus[0]["throttle"] == ""
    busy = machine.begin(2)
    counted |= {"thermal": 5_000_000_007, "power": 9_000_000_000}
    machine.end(busy)
    assert busy.gpus[0]["throttle"] == "thermal"
    monkeypatch.setattr(calibration, "usable_gpus", lambda: [Gpu(0, "Card", reasons=0x8)])
    uncounted = machine.begin(3)
    machine.end(uncounted)
    assert uncounted.gpus[0]["throttle"] == "hardware slowdown"


def test_rows_of_a_block() -> None:
    block = Block(1, [CoreRate("cpu0", 2e9, 3e9)], steal_share=0.1, load=0.5)
    block.gpus = [Gpu(0, "Card", reasons=0x8).state()]
    core, gpu = block.rows()
    assert core == {"block": 1, "device": "cpu0", "matmul_flops_s": 2e9, "copy_bytes_s": 3e9,
                    "steal_share": 0.1, "load": 0.5, "throttle": ""}
    assert gpu["device"] == "gpu0" and gpu["throttle"] == "hardware slowdown"


def test_a_site_hook_that_prints_does_not_garble_the_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('hello from the site')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert len(measure_cores(allowed_cores()[:1])) == 1


def test_a_machine_that_lists_fewer_cores_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some containers, whose /proc/stat is not the host's."""
    assert core_times([0, 4096]) == []
    machine = Calibration(allowed_cores()[:1])
    monkeypatch.setattr(calibration, "core_times", lambda cores: [])
    block = machine.begin(1)
    machine.end(block)
    assert block.steal_share is None


def test_what_cannot_be_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PROCESS_SECONDS", 0.01)
    assert measure_cores(allowed_cores()) == []

    def broken() -> tuple[float, float, float]:
        raise OSError("planted")

    monkeypatch.setattr(os, "getloadavg", broken)
    assert load_average() == 0.0
