"""Each check finds the trouble that is planted, and says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suite.cli import doctor
from suite.cli.doctor import PROBLEM, WARNING, diagnose, framework, machine_checks
from suite.contract.traits import Traits
from suite.machine import devices, software


def _fails(_name: str) -> str:
    raise OSError("planted")


def test_every_check_has_a_state_and_a_fix_for_trouble() -> None:
    checks = list(machine_checks(Path("results")))
    names = [check.name for check in checks]
    assert names == ["cores", "affinity", "memory", "load", "frequency governor", "throttling",
                     "GPU driver", "host name", "gloo on loopback", "NCCL", "namespaces", "disk"]
    assert all(check.found and (check.fix != "") == (check.state != "ok") for check in checks)


def test_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "allowed_cores", lambda: [0])
    assert doctor.cores().state == WARNING


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    assert doctor.load_average().state == WARNING and "9.00" in doctor.load_average().found
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (0.0, 9.0, 9.0))
    assert doctor.load_average().state == "ok"


def test_governor_and_throttling(tmp_path: Path) -> None:
    assert doctor.governor(tmp_path).state == "ok"
    for name, text in (("cpufreq/scaling_governor", "powersave\n"),
                       ("thermal_throttle/core_throttle_count", "3\n")):
        file = tmp_path / "cpu0" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert doctor.governor(tmp_path).state == WARNING
    assert "performance" in doctor.governor(tmp_path).fix
    assert doctor.throttling(tmp_path).found == "3 times since boot"
    (tmp_path / "cpu0/cpufreq/scaling_governor").write_text("performance\n")
    assert doctor.governor(tmp_path).state == "ok"


def test_a_name_that_does_not_resolve() -> None:
    found = doctor.host_name(_fails)
    assert found.state == PROBLEM and "/etc/hosts" in found.fix


def test_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LITTLE_MEMORY", 2**60)
    monkeypatch.setattr(doctor, "LITTLE_DISK", 2**60)
    assert doctor.memory().state == WARNING
    assert doctor.disk(tmp_path / "not" / "yet").state == WARNING
    assert str(tmp_path) in doctor.disk(tmp_path / "not" / "yet").found


def test_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor, "gpu_states", lambda: [])
    assert doctor.gpu().state == WARNING
    states = [{"index": "0", "name": "chip", "throttle": "power cap"}]
    monkeypatch.setattr(doctor, "gpu_states", lambda: states)
    assert doctor.gpu().state == WARNING and "power cap" in doctor.gpu().found
    monkeypatch.setattr(devices, "gpu_count", lambda: 2)
    monkeypatch.setattr(software, "installed_version", lambda names: "")
    assert doctor.nccl().state == WARNING


class _Manifest:
    TRAITS = Traits(engines=("numpy",), distributions=("x",), collectives={})

    def __init__(self, misfit: str = "", reason: str = "") -> None:
        self.misfit, self.reason = misfit, reason

    def installation_problem(self, case: Any) -> str:
        return self.misfit

    def unsupported_reason(self, case: Any) -> str:
        return self.reason


@pytest.mark.parametrize(
    ("version", "adapter", "state", "words"),
    [("", _Manifest(), PROBLEM, "not installed"), ("1.0", _Manifest(), "ok", "1.0"),
     ("1.0", _Manifest("built for another torch"), PROBLEM, "another torch"),
     ("1.0", _Manifest(reason="no host name"), PROBLEM, "no host name")],
)
def test_frameworks(
    monkeypatch: pytest.MonkeyPatch, version: str, adapter: _Manifest, state: str, words: str
) -> None:
    monkeypatch.setattr(doctor, "manifest", lambda name: adapter)
    monkeypatch.setattr(software, "installed_version", lambda names: version)
    checks = list(framework("horovod"))
    assert [check.state for check in checks] == [state] * 2
    assert words in checks[0].found and "torch engine" in checks[0].name


def test_nothing_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diagnose(True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["can_run"] and found["environment"]["cores"] >= 1
    monkeypatch.setattr(software, "installed_version", lambda names: "")
    assert diagnose(False) == 1
    assert "not installed" in capsys.readouterr().out
