"""What is noted of a planted mistake counts as long as what it was made of is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.mutant_notes import TIME, Notes

MODULE, TESTS, OTHER = "suite/a/sums.py", "tests/a/test_sums.py", "tests/b/test_others.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (MODULE, TESTS, OTHER):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    return tmp_path


def _notes(root: Path) -> Notes:
    return Notes(root / "results" / "notes.jsonl", root)


def test_nothing_is_known_at_first(root: Path) -> None:
    assert _notes(root).fate(MODULE, 0) is None and _notes(root).seconds(TESTS) is None


def test_another_call_knows_what_was_noted_last(root: Path) -> None:
    notes = _notes(root)
    for by in ("", TESTS):
        notes.keep_fate(MODULE, 3, "1: 2 -> 3", by)
    notes.keep_seconds(TESTS, 1.5)
    assert _notes(root).fate(MODULE, 3) == ("1: 2 -> 3", TESTS)
    assert _notes(root).fate(MODULE, 4) is None and _notes(root).seconds(TESTS) == 1.5


@pytest.mark.parametrize(("by", "changed", "counts"), [
    (TESTS, TESTS, False), (TESTS, MODULE, False), (TESTS, OTHER, True),
    ("", OTHER, False), ("", MODULE, False), (TIME, TESTS, True), (TIME, MODULE, False),
])
def test_a_fate_counts_while_what_decided_it_is_the_same(
    root: Path, by: str, changed: str, counts: bool
) -> None:
    _notes(root).keep_fate(MODULE, 0, "1: 2 -> 3", by)
    (root / changed).write_text("changed")
    assert (_notes(root).fate(MODULE, 0) is not None) == counts


@pytest.mark.parametrize("changed", [MODULE, TESTS, OTHER])
def test_seconds_count_while_no_code_has_changed(root: Path, changed: str) -> None:
    _notes(root).keep_seconds(TESTS, 1.5)
    (root / changed).write_text("changed")
    assert _notes(root).seconds(TESTS) is None


def test_a_file_that_is_gone_decides_nothing(root: Path) -> None:
    _notes(root).keep_fate(MODULE, 0, "1: 2 -> 3", TESTS)
    (root / TESTS).unlink()
    assert _notes(root).fate(MODULE, 0) is None
