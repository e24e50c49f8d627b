"""Each check of the machine finds the trouble that is planted, and says how to mend it."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from suite.machine import checks, gpus, limits, software
from suite.machine.checks import PROBLEM, WARNING
from suite.machine.gpus import Gpu


def _fails(*_asked: Any) -> Any:
    raise OSError("planted")


def test_every_check_has_a_state_and_a_fix_for_trouble() -> None:
    found = list(checks.machine_checks(Path("results")))
    names = [check.name for check in found]
    assert names == ["cores", "affinity", "memory", "load", "frequency governor", "throttling",
                     "GPU driver", "CUDA of the wheels", "shared memory", "locked memory",
                     "host name", "gloo on loopback", "NCCL", "RDMA", "namespaces",
                     "disk"]
    assert all(check.found and (check.fix != "") == (check.state != "ok") for check in found)


def test_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "allowed_cores", lambda: [0])
    assert checks.cores().state == WARNING


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    assert checks.load().state == WARNING and "9.00" in checks.load().found
    monkeypatch.setattr(checks.os, "getloadavg", lambda: (0.0, 9.0, 9.0))
    assert checks.load().state == "ok"


def test_governor_and_throttling(tmp_path: Path) -> None:
    assert checks.governor(tmp_path).state == "ok"
    for name, text in (("cpufreq/scaling_governor", "powersave\n"),
                       ("thermal_throttle/core_throttle_count", "3\n")):
        file = tmp_path / "cpu0" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert checks.governor(tmp_path).state == WARNING
    assert "performance" in checks.governor(tmp_path).fix
    assert checks.throttling(tmp_path).found == "3 times since boot"
    (tmp_path / "cpu0/cpufreq/scaling_governor").write_text("performance\n")
    assert checks.governor(tmp_path).state == "ok"


def test_a_name_that_does_not_resolve() -> None:
    found = checks.host_name(_fails)
    assert found.state == PROBLEM and "/etc/hosts" in found.fix


def test_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "LITTLE_MEMORY", 2**60)
    monkeypatch.setattr(checks, "LITTLE_DISK", 2**60)
    assert checks.memory().state == WARNING
    assert checks.disk(tmp_path / "not" / "yet").state == WARNING
    assert str(tmp_path) in checks.disk(tmp_path / "not" / "yet").found


def test_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "driver_present", lambda: True)
    monkeypatch.setattr(gpus, "ask_driver", lambda: ([], "unknown: it hangs"))
    assert checks.gpu().state == WARNING and "it hangs" in checks.gpu().found
    chip = Gpu(0, "chip", driver="580.1", reasons=0x40)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "ask_driver", lambda: ([chip, Gpu(1, "chip")], ""))
    found = checks.gpu()
    assert found.state == WARNING and "2 x chip, driver 580.1" in found.found
    assert found.found.endswith("slowed: GPU 0 (hardware thermal)")
    # Whose memory somebody holds, and what there is of several models.
    eight = [Gpu(index, "chip" if index else "screen", driver="580.1", memory_bytes=100,
                 free_bytes=98 if index < 7 else 20) for index in range(8)]
    monkeypatch.setattr(gpus, "ask_driver", lambda: (eight, ""))
    assert checks.gpu().found == ("1 x screen, 7 x chip, driver 580.1; memory in use: GPU 7 "
                                  "(20% free)")
    assert "CUDA_VISIBLE_DEVICES" in checks.gpu().fix
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert checks.gpu().state == "ok" and checks.gpu().found.startswith("2 x chip,")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    # A busy GPU runs at its power limit: that is no trouble.
    monkeypatch.setattr(gpus, "ask_driver", lambda: ([Gpu(0, "chip", reasons=0x4)] * 2, ""))
    assert checks.gpu().state == "ok"
    monkeypatch.setattr(software, "installed_version", lambda names: "")
    assert checks.nccl().state == WARNING
    monkeypatch.setattr(checks, "LITTLE_SHARED_MEMORY", 2**60)
    assert "--shm-size" in checks.shared_memory().fix


def test_a_check_that_breaks_down_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> float:
        raise PermissionError("planted")

    monkeypatch.setattr(checks.os, "getloadavg", broken)
    found = {check.name: check for check in checks.machine_checks(Path("results"))}
    assert found["load"].state == WARNING and "planted" in found["load"].found


def test_a_tool_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "unshare"
    tool.write_text("#!/bin/sh\nexec sleep 600\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    began = time.monotonic()
    assert "did not end in 5 s" in checks.namespaces().found
    assert time.monotonic() - began < 10


def test_an_ipv6_address_alone_is_a_name() -> None:
    entry = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 0))
    assert checks.host_name(lambda name, port: [entry]).state == "ok"


@pytest.mark.parametrize(("wheels", "driver", "cuda", "state", "said"), [
    ("13.0.96", "580.65.06", "13.0", "ok", ""), ("13.0.96", "570.124.06", "12.8", PROBLEM, "R580"),
    ("12.8.90", "570.124.06", "12.8", "ok", ""), ("12.8.90", "580.65.06", "13.0", "ok", ""),
    ("12.8.90", "470.57.02", "11.4", PROBLEM, "R525"),
    ("14.0", "580.1", "13.0", PROBLEM, "CUDA 14"),
    ("13.0.96", "", "13.0", "ok", ""), ("", "580.1", "13.0", WARNING, "CUDA build"),
    ("13.0.96", "570.124.06", "", PROBLEM, "R580"),
])
def test_a_driver_that_is_too_old_for_the_wheels(
    monkeypatch: pytest.MonkeyPatch, wheels: str, driver: str, cuda: str, state: str, said: str
) -> None:
    monkeypatch.setattr(gpus, "usable_gpus", lambda: [Gpu(0, "chip", driver=driver, cuda=cuda)])
    monkeypatch.setattr(software, "installed_version", lambda names: wheels)
    found = checks.driver_and_wheels()
    assert found.state == state and said in found.fix, found


def test_locked_and_shared_memory_matter_with_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.resource, "getrlimit", lambda which: (64 << 10, 64 << 10))
    monkeypatch.setattr(gpus, "usable_gpus", lambda: [])
    assert checks.locked_memory().state == checks.shared_memory().state == "ok"
    monkeypatch.setattr(gpus, "usable_gpus", lambda: [Gpu(0, "chip")])
    assert "memlock=-1" in checks.locked_memory().fix and "64 KiB" in checks.locked_memory().found
