"""The first command on a machine with several GPUs, as its driver describes them; none is needed.

The driver's answers are replayed, the ranks train with the fake adapter, and everything between is
the real thing: which device is chosen, what is refused, what the run keeps of the machine.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from suite.contract import registry
from suite.machine import gpus
from suite.measure import runner
from tests.command import suite_command
from tests.synthetic import Still

DRIVERS = Path(__file__).parents[1] / "machine"
MODEL = ["--framework", "fake", "--workload", "mlp", "--size", "tiny", "--steps", "3", "--repeats",
         "1", "--no-link", "--quiet"]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that makes a file of answers the driver's."""
    monkeypatch.setenv("PYTHONPATH", f"{DRIVERS / 'replayed'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "driver_present", lambda: True)
    monkeypatch.setattr(registry, "own", lambda: ("fake",))
    monkeypatch.setattr(runner, "Calibration", lambda cores: Still())
    return lambda name: monkeypatch.setenv("NVML_REPLAY", str(DRIVERS / "drivers" / name))


def _rows(out: Path) -> dict[str, dict[str, str]]:
    (table,) = out.glob("*/results.csv")
    with table.open(encoding="utf-8") as stream:
        return {row["case_id"]: row for row in csv.DictReader(stream)}


def _run(out: Path, *more: str) -> Any:
    return suite_command("run", *MODEL, "--out", str(out), *more)


def test_eight_gpus_are_taken_and_told(driver: Any, tmp_path: Path) -> None:
    driver("h200_eight.json")
    done = _run(tmp_path, "--strategy", "data", "--devices", "2,8")
    assert done.returncode == 1, done.stderr  # of a refused case
    rows = _rows(tmp_path)
    assert {row["device"] for row in rows.values()} == {"cuda"}
    few, all_of_them = (rows[f"fake.data.mlp-tiny.cuda{count}"] for count in (2, 8))
    assert few["status"] == "ok" and float(few["mfu_datasheet"]) > 0
    # Somebody fills the eighth GPU: what takes it is refused with figures, and nothing else.
    assert all_of_them["status"] == "refused"
    assert "of memory of each GPU, 4.1 kB are free" in all_of_them["reason"]
    (kept,) = tmp_path.glob("*/run.json")
    machine = json.loads(kept.read_text(encoding="utf-8"))["environment"]
    assert machine["gpus"] == 8 and machine["gpu_models"][7]["name"] == "NVIDIA H200"
    assert machine["gpu_models"][0]["datasheet_flops_s"]["bf16"] == 989.4e12


def test_a_slice_is_one_device_and_no_pair_of_them(driver: Any, tmp_path: Path) -> None:
    driver("h100_mig.json")
    done = _run(tmp_path / "one", "--strategy", "single", "--devices", "1")
    assert done.returncode == 0, done.stderr
    assert [row["device"] for row in _rows(tmp_path / "one").values()] == ["cuda"]
    done = _run(tmp_path / "two", "--strategy", "data", "--devices", "2", "--device", "cuda")
    assert done.returncode == 2 and "2 GPUs, of which 1 can be seen" in done.stderr
    assert "--oversubscribe" in done.stderr and not (tmp_path / "two").exists()


@pytest.mark.parametrize(("name", "said"), [
    ("h200_eight.json", "8 x NVIDIA H200, driver 580.65.06; memory in use: GPU 7 (0% free)"),
    ("h200_nvl.json", "4 x NVIDIA H200 NVL, driver 580.65.06; slowed: GPU 0 (software thermal)"),
    ("h100_mig.json", "1 x NVIDIA H100 80GB HBM3 MIG 3g.40gb, driver 570.124.06"),
    ("gh200.json", "1 x NVIDIA GH200 480GB, driver 535.104.05; slowed: GPU 0 (power brake)"),
])
def test_the_doctor_tells_what_the_driver_says(driver: Any, name: str, said: str) -> None:
    driver(name)
    done = suite_command("doctor", "--json")
    told = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert told["GPU driver"]["found"] == said
    assert (told["GPU driver"]["state"] == "ok") == (not told["GPU driver"]["fix"])
