"""Each check finds the trouble that is planted, and says how to mend it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from suite.cli import doctor
from suite.cli.doctor import diagnose, framework
from suite.contract.traits import Traits
from suite.machine import software
from suite.machine.checks import PROBLEM


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
