"""--dry-run: the matrix and an estimate from earlier runs; nothing starts, nothing is written."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.cli.dry_run import earlier_seconds, estimate
from suite.config.model import RunConfig
from tests.command import suite_command
from tests.synthetic import DATA, SINGLE, make_run


def _dry(*arguments: str) -> subprocess.CompletedProcess[str]:
    return suite_command("run", "--dry-run", *arguments)


def test_nothing_is_written(tmp_path: Path) -> None:
    done = _dry("--out", str(tmp_path / "out"), "--framework", "pytorch")
    assert done.returncode == 0, done.stderr
    assert "pytorch.inter_layer-gpipe.mlp-wide.cpu2" in done.stdout and "unknown" in done.stdout
    assert not (tmp_path / "out").exists()


def test_bad_options_are_still_refused(tmp_path: Path) -> None:
    done = _dry("--out", str(tmp_path / "out"), "--framework", "jax")
    assert done.returncode == 2 and "'jax'" in done.stderr


def test_estimates_come_from_runs_of_equal_settings(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    # The planted launcher says that each launch took 0.1 s.
    assert earlier_seconds([SINGLE, DATA], tmp_path) == {
        SINGLE.case_id: (0.1, "run"), DATA.case_id: (0.1, "run")
    }
    assert earlier_seconds([replace(SINGLE, steps=99)], tmp_path) == {}
    assert earlier_seconds([replace(SINGLE, seed=5)], tmp_path) != {}
    done = _dry("--out", str(tmp_path), "--framework", "pytorch", "--size", "tiny", "--data",
                "synthetic", "--steps", "12", "--warmup", "50", "--repeats", "7",
                "--probe-steps", str(SINGLE.probe_steps), "--start", SINGLE.start)
    assert "about 1 s, and 2 cases of which nothing is known" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("options", "seconds", "words"),
    [
        ({"repeats": 3}, [2.0, 3.0], "about 15 s."),
        ({"repeats": 3}, [], "Nothing here can run"),
        ({"repeats": 3}, [None], "unknown"),
        ({"repeats": 30, "precision": 0.03}, [10.0], "about 60 s to 5 min"),
        ({"repeats": 30, "budget": 600.0}, [10.0], "past the budget of 10 min"),
    ],
)
def test_in_words(options: dict[str, Any], seconds: list[float | None], words: str) -> None:
    assert words in estimate(RunConfig(**options), seconds)
