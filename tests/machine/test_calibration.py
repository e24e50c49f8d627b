"""The machine's rates and conditions."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from suite.machine.calibration import (
    Block,
    Calibration,
    CoreRate,
    core_times,
    gpu_counters,
    gpu_states,
    measure_cores,
    parse_gpu,
    steal_share,
)
from suite.machine.devices import allowed_cores


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


def test_gpu_line() -> None:
    found = parse_gpu("0, NVIDIA H100 80GB HBM3, 1980, 0x0000000000000024")
    assert found == {"index": "0", "name": "NVIDIA H100 80GB HBM3", "sm_clock_mhz": "1980",
                     "throttle": "power cap, software thermal"}
    # Idle (0x1) and clocks that were asked for (0x2) are no throttling; nor is what is not told.
    assert parse_gpu("1, Card, 210, 0x0000000000000003")["throttle"] == ""
    assert parse_gpu("1, Card, 210, [N/A]")["throttle"] == ""


SMI = """#!/bin/sh
case "$*" in *clocks_event_reasons.active*) {new} ;; esac
case "$*" in
  *counters*) {counters} ;;
  *) echo "0, Card, 210, 0x8" ;;
esac
"""


def _tool(folder: Path, monkeypatch: pytest.MonkeyPatch, new: str = "", counters: str = "") -> None:
    """A tool with the driver's words; ``new`` and ``counters`` are what it does when asked."""
    path = folder / "nvidia-smi"
    path.write_text(SMI.format(new=new or ":", counters=counters or "exit 2"))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_older_drivers_have_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, monkeypatch, new="echo 'not a valid field'; exit 2")
    assert [gpu["throttle"] for gpu in gpu_states()] == ["hardware slowdown"]
    assert gpu_counters() == {}


def test_a_gpu_that_slowed_within_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state afterwards is not what is told, where the driver counts."""
    count = tmp_path / "count"
    count.write_text("7")
    _tool(tmp_path, monkeypatch, counters=f"echo 0, $(cat {count}), 0, [N/A], 0")
    calibration = Calibration(allowed_cores()[:1])
    quiet = calibration.begin(1)
    calibration.end(quiet)
    assert quiet.gpus[0]["throttle"] == ""
    busy = calibration.begin(2)
    count.write_text("50000007")
    calibration.end(busy)
    assert busy.gpus[0]["throttle"] == "power cap"


def test_rows_of_a_block() -> None:
    block = Block(1, [CoreRate("cpu0", 2e9, 3e9)], steal_share=0.1, load=0.5)
    block.gpus = [parse_gpu("0, Card, 210, 0x8")]
    core, gpu = block.rows()
    assert core == {"block": 1, "device": "cpu0", "matmul_flops_s": 2e9, "copy_bytes_s": 3e9,
                    "steal_share": 0.1, "load": 0.5, "throttle": ""}
    assert gpu["device"] == "gpu0" and gpu["throttle"] == "hardware slowdown"
