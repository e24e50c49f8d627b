"""What a user may ask for, as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.config import REPEATS_OF_A_RULE, build_matrix, parse_duration, parse_share, resolve


def test_shares_and_durations() -> None:
    assert [parse_share(text) for text in ("3%", "2.5 %", "0.03")] == [0.03, 0.025, 0.03]
    assert [parse_duration(text) for text in ("90s", "20m", "1.5h", "45")] == [90, 1200, 5400, 45]
    for wrong in ("3%%", "-1%", "m", "1d", ""):
        with pytest.raises(ValueError):
            parse_share(wrong)
        with pytest.raises(ValueError):
            parse_duration(wrong)


def test_presets_end_in_bounded_time() -> None:
    standard, quick = (resolve(name, None, {}) for name in ("standard", "quick"))
    assert (standard.precision, standard.budget) == (0.03, 1200)
    assert standard.repeats == REPEATS_OF_A_RULE and standard.probes == 2
    assert (quick.precision, quick.budget, quick.repeats, quick.probes) == (None, None, 3, 1)


def test_a_rule_may_take_as_many_launches_as_it_needs() -> None:
    assert resolve("quick", None, {"precision": "2%"}).repeats == REPEATS_OF_A_RULE
    assert resolve("quick", None, {"precision": "2%", "repeats": 4}).repeats == 4


def test_a_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text('precision = "2%"\nbudget = 90\nwarmup = 30\nrepeats = 7\nprobe_steps = 9')
    config = resolve("quick", file, {})
    assert (config.precision, config.budget, config.repeats) == (0.02, 90, 7)
    assert {(case.warmup_limit, case.probe_steps) for case in build_matrix(config, 0)} == {(30, 9)}


def test_accumulation_is_a_case_of_its_own() -> None:
    matrix = {k: build_matrix(resolve("quick", None, {"accumulate": k}), 0) for k in (1, 4)}
    assert [case.accumulate for case in matrix[4]] == [4] * len(matrix[4])
    ids = {case.case_id for cases in matrix.values() for case in cases}
    assert len(ids) == 2 * len(matrix[1])
