"""Cores are dealt by the machine's own plan of sockets, physical cores and PCI buses."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.launch import starter
from suite.launch.group import LaunchRequest
from suite.machine import gpus
from suite.machine.gpus import Gpu
from suite.machine.topology import cores_beside, cpu_list, physical_first

FOUR = [Gpu(index, "H200", pci=f"0000:{bus}:00.0")
        for index, bus in enumerate(("17", "65", "a3", "e3"))]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Two sockets of four physical cores; threads of core n are n and n + 8. Two GPUs on each."""
    for core in range(16):
        folder = tmp_path / f"devices/system/cpu/cpu{core}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{core % 8},{core % 8 + 8}\n")
    for gpu, local in zip(FOUR, ("0-3,8-11", "0-3,8-11", "4-7,12-15", "4-7,12-15"), strict=True):
        folder = tmp_path / f"bus/pci/devices/{gpu.pci}"
        folder.mkdir(parents=True)
        (folder / "local_cpulist").write_text(f"{local}\n")
    return tmp_path


def test_ranks_get_whole_physical_cores_beside_their_gpu(system: Path) -> None:
    every = list(range(16))
    assert cores_beside(FOUR, every, system) == [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13],
                                                 [6, 7, 14, 15]]
    # The only GPU of a socket has all of its cores, and none of the other's.
    assert cores_beside([FOUR[2]], every, system) == [[4, 5, 6, 7, 12, 13, 14, 15]]
    # Ranks that share a GPU share its cores evenly.
    assert cores_beside([FOUR[0], FOUR[0]], every, system) == [[0, 1, 8, 9], [2, 3, 10, 11]]


def test_a_container_may_hold_a_part_of_the_machine(system: Path) -> None:
    assert cores_beside(FOUR[:2], [0, 8], system) == [[0, 8], [0, 8]]
    # None of its cores is beside the GPU: then all of them are as near.
    assert cores_beside([FOUR[3]], [0, 1], system) == [[0, 1]]
    assert cores_beside([Gpu(0, "virtual", pci="")] * 2, [0, 1, 2, 3], system) == [[0, 1], [2, 3]]
    assert cores_beside([Gpu(0, "lost", pci="0000:ff:00.0")], [4], system) == [[4]]


def test_cpu_devices_are_physical_cores_as_long_as_there_are_any(system: Path) -> None:
    assert physical_first(list(range(16)), system) == list(range(16))
    assert physical_first([0, 8, 1, 9], system) == [0, 1, 8, 9]
    assert physical_first([3, 4], system / "none") == [3, 4]
    assert cpu_list("0-2,8,10-11\n") == {0, 1, 2, 8, 10, 11} and cpu_list("\n") == set()


def test_a_run_and_a_sweep_deal_alike(
    system: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpus, "usable_gpus", lambda: FOUR)
    monkeypatch.setattr(starter, "cores_beside",
                        lambda seen, cores: cores_beside(seen, cores, system))
    case = Case("pytorch", "torch", "data", "", "gpt", "tiny", "synthetic", "cuda", 4)
    dealt = starter.cores_of_devices(case, list(range(16)))
    request = LaunchRequest(case, tmp_path, tmp_path, tmp_path, list(range(16)), 1.0, dealt=dealt)
    assert request.cores_of(3, 4) == [6, 7, 14, 15]
    # One process that drives all GPUs has the cores of all of them, two have a half each.
    assert request.cores_of(0, 1) == list(range(16))
    assert request.cores_of(1, 2) == [4, 5, 6, 7, 12, 13, 14, 15]
