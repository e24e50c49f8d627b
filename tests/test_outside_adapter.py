"""An adapter of another package goes through every command with all its columns right."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.contract import registry
from suite.contract.case import Case
from suite.contract.splits.volumes import logical_communications
from tests.conftest import python_path

HERE = Path(__file__).parent / "outside_adapter"
ALPHA_S_PER_BYTE = 2e-8


class Installed:
    """``python -m suite`` where the package is installed, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        info = folder / "site" / "outside_adapter-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[suite.adapters]\noutside = outside_adapter\n")
        self.paths = [str(folder / "site"), str(HERE)]
        paths = python_path(*self.paths, str(HERE.parents[1]))
        self.environment = os.environ | {"PYTHONPATH": paths}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "suite", *arguments], cwd=self.folder, env=self.environment,
            check=False, capture_output=True, text=True,
        )


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """With a finished run of both engines in ``results``; this process knows the package too."""
    installed = Installed(tmp_path_factory.mktemp("outside"))
    before = sys.path[:]
    sys.path[:0] = installed.paths
    registry.forget()
    done = installed(
        "run", "--framework", "outside", "--strategy", "single,data,inter_layer", "--workload",
        "mlp", "--size", "tiny", "--repeats", "2", "--steps", "5", "--probe-steps", "2", "--quiet",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield installed
    sys.path[:] = before
    registry.forget()


def _run_of(suite: Installed) -> str:
    (file,) = suite.folder.glob("results/*/run.json")
    return str(file.parent)


def test_every_column_of_every_row_is_right(suite: Installed) -> None:
    done = suite("report", _run_of(suite), "--json")
    rows = json.loads(done.stdout)["rows"]
    assert [(row["engine"], row["strategy"]) for row in rows] == [
        (engine, strategy) for engine in ("paper", "card")
        for strategy in ("single", "data", "inter_layer")
    ]
    assert len({row["case_id"] for row in rows}) == 6
    for row in rows:
        case = Case("outside", row["engine"], row["strategy"], row["variant"], "mlp", "tiny",
                    "real", "cpu", int(row["devices"]))
        assert (row["status"], row["parity"]) == ("ok", "ok"), row["reason"]
        assert row["base_case_id"] == f"outside-{row['engine']}.single.mlp-tiny.cpu1"
        assert float(row["speedup"]) > 0 and int(row["peak_memory_bytes"]) > 1 << 20
        if row["strategy"] != "single":
            _check_communication(row, case)


def _check_communication(row: dict[str, str], case: Case) -> None:
    # One process places the stages: the formula for tied parameters and hops follows its traits.
    assert case.placed
    wanted = logical_communications(case)
    moved = sum(size for _, size in wanted)
    assert float(row["comm_count"]) == len(wanted)
    assert float(row["comm_bytes"]) == pytest.approx(moved / len(wanted))
    assert float(row["alpha_s_per_byte"]) == pytest.approx(ALPHA_S_PER_BYTE, rel=0.01)
    # A hop is in flight for its receiver alone: half of the devices.
    share = 0.5 if case.strategy == "inter_layer" else 1.0
    assert float(row["t_comm_model_s"]) == pytest.approx(ALPHA_S_PER_BYTE * moved * share, rel=0.02)
    assert float(row["load_balance"]) == pytest.approx(1.0)


def test_its_name_is_what_readers_see(suite: Installed) -> None:
    done = suite("report", _run_of(suite))
    assert "outside/paper" in done.stdout and "outside/card" in done.stdout


def test_the_other_commands_know_it(suite: Installed) -> None:
    folder = _run_of(suite)
    assert suite("compare", folder, folder).returncode == 0
    listed = suite("list")
    assert "outside" in listed.stdout and "paper, card" in listed.stdout
    checks = json.loads(suite("doctor", "--json").stdout)["checks"]
    states = {check["name"]: check["state"] for check in checks}
    assert states["framework outside, paper engine"] == "ok"
    done = suite("link", "--framework", "outside", "--bytes-max", "64KiB", "--out", "links")
    assert done.returncode == 0, done.stderr
    (fits,) = suite.folder.glob("links/*/link_fit.csv")
    rows = list(csv.DictReader(fits.open()))
    assert {row["engine"] for row in rows} == {"paper", "card"}
    swept = [row for row in rows if row["status"] == "ok"]
    assert all(float(row["alpha_s_per_byte"]) == pytest.approx(2e-8, rel=0.01) for row in swept)
    refused = {row["collective"] for row in rows if row["status"] == "unsupported"}
    assert refused == {"send_recv"}
