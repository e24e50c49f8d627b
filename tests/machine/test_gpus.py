"""The driver is asked in a process of its own; what it says, and that it may say nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from suite.machine import gpus
from suite.machine.gpu_peaks import datasheet_flops
from suite.machine.gpus import Gpu, ask_driver, slowed, visible

# NVML as its Python binding has it: two GPUs, the second one cut into two slices.
NVML = """
import os, time
class NVMLError(Exception): pass
NVML_CLOCK_SM, NVML_PERF_POLICY_POWER, NVML_PERF_POLICY_THERMAL = 1, 0, 1
NVML_PERF_POLICY_BOARD_LIMIT = 3
if os.environ.get("PLANT_NVML") == "hang": time.sleep(600)
def nvmlInit():
    if os.environ.get("PLANT_NVML") == "absent": raise NVMLError("no driver")
    if os.environ.get("PLANT_NVML") == "crash": os.abort()
def nvmlSystemGetDriverVersion(): return b"580.65.06"
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(i): return i
def nvmlDeviceGetName(h):
    return {0: "NVIDIA H200 NVL", 1: "NVIDIA H100"}.get(h, "NVIDIA H100 MIG 1g.10gb")
def nvmlDeviceGetUUID(h): return f"GPU-{h}{h}" if h in (0, 1) else f"MIG-{h}"
def nvmlDeviceGetMigMode(h):
    if h == 0: raise NVMLError("not supported")
    return (1, 1)
def nvmlDeviceGetMaxMigDeviceCount(h): return 7
def nvmlDeviceGetMigDeviceHandleByIndex(h, n):
    if n > 1: raise NVMLError("no such slice")
    return f"slice{n}"
def nvmlDeviceGetClockInfo(h, kind): return 1980
def nvmlDeviceGetEnforcedPowerLimit(h): return 600000
def nvmlDeviceGetCurrentClocksEventReasons(h): return 0x24
class _Violation:
    violationTime = 12
def nvmlDeviceGetViolationStatus(h, policy):
    if policy == 3: raise NVMLError("not supported")
    return _Violation
print("a line on standard output")
"""


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text(NVML)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(gpus, "driver_present", lambda: True)


@pytest.mark.usefixtures("nvml")
def test_what_the_driver_says() -> None:
    (whole, cut), problem = ask_driver()
    assert problem == "" and whole.name == "NVIDIA H200 NVL" and whole.driver == "580.65.06"
    assert (whole.sm_clock_mhz, whole.power_limit_w) == (1980, 600.0)
    assert whole.slowed_ns == {"power": 12, "thermal": 12}  # the third is not counted
    # At its power limit, which is normal, and too hot, which is not.
    assert whole.throttle == "software thermal" and whole.state()["at_power_limit"]
    assert [part["uuid"] for part in cut.slices] == ["MIG-slice0", "MIG-slice1"]


@pytest.mark.usefixtures("nvml")
@pytest.mark.parametrize(("plant", "said"), [
    ("absent", ""), ("crash", "unknown: suite.machine.nvml ended with code -6"),
    ("hang", "unknown: suite.machine.nvml did not answer in 2 s"),
])
def test_a_driver_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, plant: str, said: str
) -> None:
    monkeypatch.setenv("PLANT_NVML", plant)
    monkeypatch.setattr(gpus, "ASK_SECONDS", 2.0)
    began = time.monotonic()
    assert ask_driver() == ([], said)
    assert time.monotonic() - began < 5


def test_without_a_driver_nobody_is_asked() -> None:
    if gpus.driver_present():
        pytest.skip("this machine has a driver")
    began = time.monotonic()
    assert ask_driver() == ([], "") and time.monotonic() - began < 0.05


PLAIN = [Gpu(0, "A", "GPU-aaaa"), Gpu(1, "B", "GPU-bbbb")]
CUT = [Gpu(0, "A", "GPU-aaaa", slices=({"name": "A MIG 1g", "uuid": "MIG-x"},
                                       {"name": "A MIG 2g", "uuid": "MIG-y"}))]


@pytest.mark.parametrize(("listed", "chosen", "names"), [
    (PLAIN, None, ["A", "B"]), (PLAIN, "1", ["B"]), (PLAIN, "1,0", ["B", "A"]), (PLAIN, "", []),
    (PLAIN, "0,7,1", ["A"]), (PLAIN, "GPU-b", ["B"]), (PLAIN, "-1", []),
    (CUT, None, ["A MIG 1g"]), (CUT, "MIG-y", ["A MIG 2g"]), (CUT, "MIG-z", []),
])
def test_gpus_that_can_be_seen(listed: list[Gpu], chosen: str | None, names: list[str]) -> None:
    assert [gpu.name for gpu in visible(listed, chosen)] == names


def test_a_card_is_slow_where_it_was_for_a_part_of_the_time() -> None:
    before = [Gpu(0, "A", slowed_ns={"thermal": 0, "power": 0})]
    after = [Gpu(0, "A", slowed_ns={"thermal": 2 * 10**9, "power": 50 * 10**9}), Gpu(1, "B")]
    assert slowed(before, after, 100.0) == {0: "thermal"}
    assert slowed(before, after, 1000.0) == {0: ""}


def test_peaks_of_what_is_known_alone() -> None:
    assert datasheet_flops("NVIDIA H200 NVL")["bf16"] < datasheet_flops("NVIDIA H200")["bf16"]
    assert datasheet_flops("NVIDIA H100 80GB HBM3 MIG 1g.10gb") == {}
    assert datasheet_flops("NVIDIA Z9000") == {}
