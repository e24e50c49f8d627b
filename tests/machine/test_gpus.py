"""The driver is asked in a process of its own; what it says, and that it may say nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from suite.machine import calibration, gpu_watch, gpus
from suite.machine.gpu_peaks import datasheet_flops
from suite.machine.gpus import Gpu, ask_driver, slowed, under_load, visible
from suite.machine.probe import Asked

HERE = Path(__file__).parent


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver of four H200 NVL; others by the variable NVML_REPLAY."""
    monkeypatch.setenv("PYTHONPATH", f"{HERE / 'replayed'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("NVML_REPLAY", str(HERE / "drivers/h200_nvl.json"))
    monkeypatch.setattr(gpus, "driver_present", lambda: True)


@pytest.mark.usefixtures("nvml")
def test_what_the_driver_says() -> None:
    (whole, *others), problem = ask_driver()
    assert problem == "" and whole.name == "NVIDIA H200 NVL" and whole.driver == "580.65.06"
    assert (whole.sm_clock_mhz, whole.power_limit_w, whole.cuda) == (1980, 600.0, "13.0")
    assert whole.memory_bytes == 150754820096 and whole.pci == "0000:17:00.0"
    assert whole.slowed_ns == {"power": 12, "thermal": 12}  # the third is not counted
    # At its power limit, which is normal, and too hot, which is not.
    assert whole.throttle == "software thermal" and whole.state()["at_power_limit"]
    assert len(others) == 3 and others[1].pci == "0000:a3:00.0" and others[0].throttle == ""


@pytest.mark.usefixtures("nvml")
def test_slices_have_their_share_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVML_REPLAY", str(HERE / "drivers/h100_mig.json"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    listed, _ = ask_driver()
    third, first = (visible(listed, f"MIG-{start}")[0] for start in ("c6d4f1ef", "cba663e8"))
    assert (third.name, third.multiprocessors) == ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", 60)
    assert third.memory_bytes == 42144366592 and third.driver == "570.124.06"
    # What is free of the whole GPU is not free for a slice of it.
    assert (third.free_bytes, first.free_bytes) == (42100000000, None)
    # Of the 132 multiprocessors of the whole GPU they have 60 and 16.
    whole = datasheet_flops("NVIDIA H100 80GB HBM3")
    for part, share in ((third, 60 / 132), (first, 16 / 132)):
        found = datasheet_flops(part.name, part.multiprocessors)
        assert found == pytest.approx({kind: share * peak for kind, peak in whole.items()})
    # A process that names nothing gets the first slice alone; the whole GPU is the second one.
    assert [gpu.name for gpu in gpus.usable_gpus()] == ["NVIDIA H100 80GB HBM3 MIG 3g.40gb"]
    assert visible(listed, "1")[0].uuid == "GPU-c42ef3a9"


@pytest.mark.usefixtures("nvml")
def test_a_superchip_with_an_older_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVML_REPLAY", str(HERE / "drivers/gh200.json"))
    (chip,), _ = ask_driver()
    assert (chip.throttle, chip.cuda, chip.driver) == ("power brake", "12.2", "535.104.05")
    assert datasheet_flops(chip.name)["bf16"] == 989.4e12


@pytest.mark.usefixtures("nvml")
def test_a_gpu_is_watched_while_it_works() -> None:
    watch = Asked("suite.machine.gpu_watch")
    time.sleep(1.2)
    first, *idle = watch.answer(5.0)
    # The first look met an idle GPU, which does not count.
    assert first["looks"] >= 2 and first["sm_clock_mhz"] == 1980 and first["celsius"] == 74
    assert 596 <= first["power_w"] <= 601
    assert first["reason_shares"] == {"4": 1.0, "32": 1.0}
    assert [one["looks"] for one in idle] == [0, 0, 0]  # of which nothing is told
    state = under_load(first)
    assert state["throttle"] == "software thermal"
    assert state["under_load"]["at_power_limit_share"] == 1.0
    assert under_load(idle[0]) == {}


def test_a_power_cap_under_load_is_no_throttling() -> None:
    looks = [{"sm_clock_mhz": clock, "power_w": 699.0, "celsius": 60, "busy_percent": 98,
              "reasons": 0x4} for clock in (1700, 1650, 1980)]
    state = under_load(gpu_watch.summary(looks))
    assert state["throttle"] == "" and state["under_load"]["at_power_limit_share"] == 1.0
    assert state["under_load"]["sm_clock_min_mhz"] == 1650
    hot = gpu_watch.summary([*looks, looks[0] | {"reasons": 0x40}])
    assert under_load(hot)["throttle"] == "hardware thermal"


@pytest.mark.usefixtures("nvml")
def test_a_block_keeps_what_its_gpus_ran_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "measure_cores", lambda cores: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = calibration.Calibration([0])
    block = machine.begin(0)
    time.sleep(1.2)
    machine.end(block)
    assert [gpu["index"] for gpu in block.gpus] == ["0", "1", "2", "3"]
    assert block.gpus[0]["under_load"]["celsius"] == 74
    assert block.gpus[0]["throttle"] == "software thermal"
    assert "under_load" not in block.gpus[1] and block.gpus[1]["throttle"] == ""


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
    # A GPU in slices is its first one, and a process sees one slice and nothing beside it.
    (CUT, "0", ["A MIG 1g"]), (CUT, "GPU-a", ["A MIG 1g"]), (CUT, "MIG-y,MIG-x", ["A MIG 2g"]),
    ([*CUT, PLAIN[1]], "1,0", ["A MIG 1g"]), ([*CUT, PLAIN[1]], "1", ["B"]),
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
    assert datasheet_flops("NVIDIA H100 80GB HBM3 MIG 1g.10gb") == {}  # its share is not told
    assert datasheet_flops("NVIDIA H200")["float64"] == 34e12
    assert datasheet_flops("NVIDIA Z9000") == {}


# The part of the CUDA driver that is asked, for one GPU; compiled, since it is called through C.
LIBCUDA = r"""
#include <string.h>
#include <stdlib.h>
int cuInit(unsigned f) { return getenv("CUDA_VISIBLE_DEVICES") ||
  strcmp(getenv("CUDA_DEVICE_ORDER"), "PCI_BUS_ID") ? 100 : 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "NVIDIA H200", n); return 0; }
int cuDeviceGetUuid(unsigned char *u, int d) { memset(u, 0xab, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { *b = 150754820096UL; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) {
  *v = a == 16 ? 132 : a == 33 ? 0x17 : 0; return 0; }
"""


@pytest.mark.usefixtures("nvml")
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs a C compiler")
def test_without_nvml_the_cuda_driver_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cuda.c").write_text(LIBCUDA)
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "cuda.c")],
                   check=True)
    monkeypatch.setenv("PLANT_NVML", "absent")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # CUDA itself would hide the others
    (found,), problem = ask_driver()
    assert problem == "" and (found.name, found.cuda) == ("NVIDIA H200", "13.0")
    assert found.pci == "0000:17:00.0" and found.memory_bytes == 150754820096
    assert found.multiprocessors == 132 and found.uuid == "GPU-" + "-".join(
        "ab" * count for count in (4, 2, 2, 2, 6))
