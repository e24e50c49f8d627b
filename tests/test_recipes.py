"""Each recipe of CONTRIBUTING.md is followed in a copy of the project, its files counted, and run.

What a recipe adds is planted by changing as few files as it says, and seen in the table of a run.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import python_path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("suite", "adapters", "tests", "scripts")
# What CONTRIBUTING.md promises: files touched at most, new ones among them.
LIMITS = {"metric": 3, "variant": 5, "workload": 2}
MARK = "    launch_step_s: list[float | None] = field(default_factory=list)\n"


class Copy:
    """A copy of the project, which counts the files that are changed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.touched = folder, set[str]()
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(
                "__pycache__", "vendor", "recorded.jsonl"))
        shutil.copytree(ROOT / "suite/report/page/vendor", folder / "suite/report/page/vendor")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replaces the one place where ``old`` stands."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        self.touched.add(name)

    def add(self, name: str, text: str) -> None:
        """A new file."""
        assert not (self.folder / name).exists()
        (self.folder / name).write_text(text, encoding="utf-8")
        self.touched.add(name)

    def run(
        self, *arguments: str, module: str = "suite", out: str = "out"
    ) -> list[dict[str, str]]:
        """Rows of results.csv of a short run."""
        fakes = str(self.folder / "tests" / "fake_adapter")
        environment = os.environ | {"PYTHONPATH": python_path(fakes, str(self.folder))}
        done = subprocess.run(
            [sys.executable, "-m", module, "run", "--size", "tiny",
             "--repeats", "1", "--steps", "3", "--warmup", "20", "--no-link", "--out", out,
             *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (table,) = self.folder.glob(f"{out}/*/results.csv")
        with table.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_metric_that_ranks_report(copy: Copy) -> None:
    copy.edit("suite/contract/row.py", MARK, (
        '    page_faults: float | None = figure(\n'
        '        "", "page faults", "lower", "ratio", "Of a launch, over all ranks.",\n'
        '        from_ranks="sum"\n    )\n\n' + MARK
    ))
    copy.edit("tests/fake_adapter/adapters/fake/session.py", "    def close(self) -> Any:\n", (
        '    def figures(self) -> dict[str, float]:\n'
        '        return {"page_faults": 7.0 + self.rank.index}\n\n'
        '    def close(self) -> Any:\n'
    ))
    assert len(copy.touched) <= LIMITS["metric"]
    rows = copy.run("--workload", "mlp", "--strategy", "single,data", module="tests.fake_harness")
    assert [float(row["page_faults"]) for row in rows] == [7.0, 15.0]
    (page,) = copy.folder.glob("out/*/report.html")
    assert "page faults" in page.read_text(encoding="utf-8")


def test_a_variant_of_a_strategy(copy: Copy) -> None:
    copy.edit("suite/contract/splits/strategies.py", '"data": ("", "fsdp",',
              '"data": ("", "calm", "fsdp",')
    copy.edit("tests/fake_adapter/adapters/fake/__init__.py", "    variants={",
              '    variants={"data": ("", "calm"), ')
    copy.edit("tests/fake_adapter/adapters/fake/session.py", '        return {"fake": "yes"}',
              '        return {"fake": self.case.variant or "plain"}')
    assert len(copy.touched) <= LIMITS["variant"]
    calm = ("--workload", "mlp", "--strategy", "data", "--variant", "calm")
    (row,) = copy.run(*calm, module="tests.fake_harness")
    assert '"fake": "calm"' in row["ledger"] and row["status"] == "ok"
    # An adapter that does not know it must not train something else under its name.
    (other,) = copy.run(*calm, "--framework", "tensorflow", out="other")
    assert other["status"] == "unsupported" and "offers of data" in other["reason"]


def test_a_workload(copy: Copy) -> None:
    pytest.importorskip("torch")
    copy.add("suite/contract/workloads/tower.py", (
        '"""A tower of layers."""\n\nfrom dataclasses import dataclass\n\n'
        'from suite.contract.workloads.mlp import MlpSpec\n\n\n'
        '@dataclass(frozen=True)\nclass TowerSpec(MlpSpec):\n'
        '    """A dense classifier of another depth."""\n\n    name: str = "tower"\n\n\n'
        'SIZES = (TowerSpec("tiny", widths=(30, 12, 12, 1), dataset="breast-cancer", '
        'global_batch=64),)\nDEFAULT_SIZE = "tiny"\n'
    ))
    copy.add("adapters/pytorch/models/tower.py", (
        '"""A tower of layers."""\n\nfrom adapters.pytorch.models.mlp import build, loss\n\n'
        '__all__ = ["build", "loss"]\n'
    ))
    assert len(copy.touched) <= LIMITS["workload"]
    rows = copy.run("--workload", "tower", "--framework", "pytorch", "--probes", "0",
                    "--strategy", "single,data,intra_layer,inter_layer")
    assert [row["parity"] for row in rows] == ["ok"] * 4
    assert {row["workload"] for row in rows} == {"tower"}
