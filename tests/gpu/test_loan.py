"""The program for a lent GPU: bounded, resumed part by part, equipped from what was carried."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from suite.contract.case import Case
from suite.launch.group import LaunchRequest
from suite.machine.devices import allowed_cores
from tests import conftest
from tests.gpu import build, loan
from tests.gpu.loan import Part

QUICK = Part("quick", "says a line", ["-c", "print('done')"], 20, torch=False)
SLOW = Part("slow", "never ends", ["-c", "import time; time.sleep(600)"], 1.0, torch=False)
BROKEN = Part("broken", "fails", ["-c", "raise SystemExit('planted: no kernel')"], 20, torch=False)
UNABLE = Part("unable", "says so", ["-c", "print('no compiler'); raise SystemExit(3)"], 20,
              torch=False)


def _call(
    monkeypatch: pytest.MonkeyPatch, out: Path, chosen: list[Part], *arguments: str
) -> int:
    monkeypatch.setattr(loan, "parts", lambda device: chosen)
    monkeypatch.setattr(sys, "argv", ["loan", "--device", "cpu", "--out", str(out), *arguments])
    return loan.main()


def _status(out: Path, name: str) -> str:
    return str(json.loads((out / "cpu" / name / "outcome.json").read_text())["status"])


def test_every_part_is_bounded_and_leaves_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()
    assert _call(monkeypatch, tmp_path, [SLOW, BROKEN, UNABLE, QUICK]) == 1
    assert time.monotonic() - began < 15
    found = {name: _status(tmp_path, name) for name in ("slow", "broken", "unable", "quick")}
    assert found == {"slow": "timeout", "broken": "failed", "unable": "cannot", "quick": "ok"}
    table = (tmp_path / "cpu" / "table.txt").read_text()
    assert "planted: no kernel" in table and "no compiler" in table


def test_a_call_goes_on_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No time is left for anything: nothing is begun, and the next call makes it.
    assert _call(monkeypatch, tmp_path, [QUICK, UNABLE], "--seconds", "1") == 1
    assert not list(tmp_path.glob("cpu/*/outcome.json"))
    assert _call(monkeypatch, tmp_path, [QUICK, UNABLE]) == 0
    before = (tmp_path / "cpu/quick/outcome.json").stat().st_mtime_ns
    assert _call(monkeypatch, tmp_path, [QUICK, UNABLE]) == 0
    assert (tmp_path / "cpu/quick/outcome.json").stat().st_mtime_ns == before
    assert _call(monkeypatch, tmp_path, [QUICK, UNABLE], "--only", "quick") == 0
    assert (tmp_path / "cpu/quick/outcome.json").stat().st_mtime_ns > before


def test_a_part_that_does_not_exist_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call(monkeypatch, tmp_path, [QUICK], "--only", "quik") == 2
    assert "--only quik: expected quick" in capsys.readouterr().err


def test_what_the_machine_lacks_comes_from_what_was_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("carried_for_loan", "numpy"):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "value = 7")
    monkeypatch.setattr(loan, "PACKAGES", tmp_path)
    monkeypatch.setattr(loan, "NEEDED", ("carried_for_loan", "never_carried", "json"))
    with loan.equipped() as environment:
        folder = Path(environment["PYTHONPATH"].split(os.pathsep)[1])
        assert (folder / "carried_for_loan" / "__init__.py").exists()
        # The interpreter's own stays: a second numpy would not fit its torch.
        assert not (folder / "numpy").exists()
        part = Part("use", "", ["-c", "import carried_for_loan as c; print(c.value)"], 20,
                    torch=False)
        assert loan.make(part, tmp_path / "use", 20, environment)["status"] == "ok"
    assert not folder.exists()


@pytest.mark.parametrize(("sheet", "measured", "ratio", "missed"), [
    ("0.52", "0.63", 1.02, 0), ("0.41", "0.63", 0.97, 2),
])
def test_the_table_says_which_targets_were_met(
    tmp_path: Path, sheet: str, measured: str, ratio: float, missed: int
) -> None:
    part = next(one for one in loan.parts("cuda") if one.name == "gpt3-xl")
    folder = tmp_path / "gpt3-xl"
    (folder / "run").mkdir(parents=True)
    (folder / "outcome.json").write_text(
        json.dumps({"status": "ok", "reason": "", "seconds": 100}))
    row = {"case_id": "pytorch.single.gpt-gpt3-xl.cuda1", "status": "ok", "parity_error": "0.1",
           "step_time_s": "0.2", "throughput_tokens_s": "40000", "mfu": measured,
           "mfu_datasheet": sheet, "reason": "", "proof": "float64 of 2 of 24 units"}
    with (folder / "run" / "results.csv").open("w") as stream:
        writer = csv.DictWriter(stream, list(row))
        writer.writeheader()
        writer.writerow(row)
    (tmp_path / "beside-gpt3-xl").mkdir()
    (tmp_path / "beside-gpt3-xl" / "pair.json").write_text(json.dumps({"ratio": ratio}))
    said = loan.table([part], tmp_path)
    assert "float64 of 2 of 24 units" in said and said.count("MISSED") == missed
    assert said.count("target:") == 3


def test_parts_fit_into_what_is_lent() -> None:
    for device in ("cpu", "cuda"):
        chosen = loan.parts(device)
        assert len({part.name for part in chosen}) == len(chosen)
        assert all(0 < part.seconds <= 600 for part in chosen)
        # A run's own options are those of the command line.
        for part in chosen:
            if "run" in part.arguments:
                assert "--out" not in part.arguments and part.arguments[:2] == ["-m", "suite"]


def test_a_build_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "PACKAGES", tmp_path)
    monkeypatch.setattr(build, "_tool", lambda name: None if name == "cmake" else name)
    monkeypatch.setattr(sys, "argv", ["build", "--out", str(tmp_path)])
    assert build.main() == 3
    said = capsys.readouterr().err
    assert "cmake is not found" in said and "no horovod-0.28.1.tar.gz" in said


def test_what_is_carried_has_the_versions_of_the_set_up() -> None:
    carried, pinned = (
        {line.partition("#")[0].strip() for line in (loan.ROOT / name).read_text().splitlines()}
        for name in ("requirements-gpu-loan.txt", "requirements.txt")
    )
    assert carried - {""} <= pinned


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_pair_on_a_gpu_has_every_core_and_on_cpus_one_a_device(
    tmp_path: Path, device: str
) -> None:
    """Beside the thread that launches kernels others compile; a CPU device is a single core."""
    asked: list[LaunchRequest] = []
    case = Case("pytorch", "torch", "single", "", "mlp", "tiny", "synthetic", device, 1)

    def launcher(request: LaunchRequest) -> Any:
        asked.append(request)

    conftest.launch_case(case, tmp_path / "pair", worker="tests.gpu.pair", launcher=launcher)
    assert asked[0].cores == allowed_cores()[: 1 if device == "cpu" else None]


def test_packages_on_the_callers_path_stay_in_reach_of_the_tests(tmp_path: Path) -> None:
    """Where a loan unpacks what the machine lacks; also for what the tests start."""
    code = "import os, tests.conftest; print(os.environ['PYTHONPATH'])"
    path = os.pathsep.join([str(loan.ROOT), str(tmp_path)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path)
    assert str(tmp_path) in done.stdout.strip().split(os.pathsep)
