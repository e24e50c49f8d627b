"""``predict`` as users call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli.app import app
from suite.contract.errors import UsageError
from tests.command import suite_command

NAMED = ("predict", "--machine", "A100 SXM 80GB", "--workload", "gpt", "--size", "gpt3-xl",
         "--devices", "8", "--batch", "32")


def _rows(*options: str) -> list[dict[str, object]]:
    found = CliRunner().invoke(app, [*NAMED, "--json", *options], catch_exceptions=False)
    rows: list[dict[str, object]] = json.loads(found.stdout)["rows"]
    return rows


def test_a_named_device_is_predicted_with_a_wide_range() -> None:
    for row in _rows():
        low, step, high = row["step_low_s"], row["step_s"], row["step_high_s"]
        assert isinstance(low, float) and isinstance(step, float) and isinstance(high, float)
        assert low * 1.3 < step < high / 1.3


def test_only_what_was_asked_for_is_predicted() -> None:
    rows = _rows("--strategy", "inter_layer", "--schedule", "1f1b", "--micro-batches", "16")
    (row,) = rows
    assert row["mesh"] == "inter_layer=8" and str(row["way"]).startswith("inter_layer, 1f1b, 16")


def test_a_table_says_where_its_constants_come_from() -> None:
    found = CliRunner().invoke(app, NAMED, catch_exceptions=False)
    assert "by its datasheet" in found.stdout and "nothing was run" in found.stdout


@pytest.mark.parametrize(("options", "words"), [
    (("--machine", "T4"), "link to its neighbours"),
    (("--machine", "abacus"), "one of V100"),
    (("--strategy", "sideways"), "one of single"),
    (("--batch", "7", "--strategy", "data"), "choose a batch"),
])
def test_what_cannot_be_predicted_is_refused(options: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CliRunner().invoke(app, [*NAMED, *options], catch_exceptions=False)


def test_no_framework_is_imported() -> None:
    code = (
        "import sys; from suite.foresight.question import *; "
        "sys.exit(bool({'torch', 'tensorflow', 'horovod', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_cannot_be_kept_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    done = suite_command("predict", "--calibrate", "--framework", "pytorch")
    assert done.returncode == 2 and "--calibrate" in done.stderr, done.stderr
    assert "expected a writable folder" in done.stderr and "XDG_CACHE_HOME" in done.stderr
