"""One comparison for every claim: by pairs, refused where the terms differ."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from suite.analysis.ledger import MUST_EQUAL, build_ledger, differences, obstacle
from suite.analysis.verdict import NOT_COMPARABLE, Comparison, compare_cases, may_be_fastest
from suite.contract.case import Case
from suite.contract.records import RankRecord
from suite.contract.row import Row

SAME = dict.fromkeys(MUST_EQUAL, "same")


def _row(launches: list[float | None], **ledger: str) -> Row:
    return Row(launch_step_s=launches, ledger=SAME | ledger)


def test_faster_is_above_one() -> None:
    fast, slow = _row([1.0, 1.1, 0.9]), _row([2.0, 2.2, 1.8])
    found = compare_cases(fast, slow)
    assert found.verdict == "faster" and found.ratio == pytest.approx(2.0) and found.pairs == 3
    assert compare_cases(slow, fast).verdict == "slower"


def test_drift_that_both_sides_share_does_not_hide_a_difference() -> None:
    drift = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    a, b = _row(drift), _row([1.05 * x for x in drift])  # type: ignore[arg-type]
    assert compare_cases(a, b).verdict == "faster"
    turned = _row([1.05 * x for x in reversed(drift)])
    assert compare_cases(a, turned).verdict == "tie"


def test_only_blocks_that_hold_both_count() -> None:
    found = compare_cases(_row([1.0, None, 1.0, 1.0]), _row([2.0, 9.0, 2.0]))
    assert (found.pairs, found.ratio) == (2, pytest.approx(2.0))
    nothing = compare_cases(_row([None]), _row([1.0]))
    assert math.isnan(nothing.ratio) and nothing.reason == "no block holds both"


def test_one_pair_is_no_verdict() -> None:
    found = compare_cases(_row([1.0]), _row([9.0]))
    assert (found.verdict, found.reason) == ("", "one launch has no interval")


@pytest.mark.parametrize("entry", MUST_EQUAL)
def test_different_terms_are_refused_by_name(entry: str) -> None:
    found = compare_cases(_row([1.0] * 6), _row([2.0] * 6, **{entry: "other"}))
    assert (found.verdict, found.reason) == (NOT_COMPARABLE, f"{entry} is same against other")


def test_what_is_not_recorded_is_not_assumed() -> None:
    assert obstacle(SAME, {k: v for k, v in SAME.items() if k != "tf32"}) == (
        "tf32 is same against not recorded"
    )


def test_what_differs_by_nature_is_listed() -> None:
    found = compare_cases(_row([1.0] * 6, backend="gloo"), _row([2.0] * 6, backend="in-process"))
    assert found.verdict == "faster"
    assert differences({"torch": "2"}, {"tensorflow": "2"}) == ["torch", "tensorflow"]


def test_the_ledger_shows_ranks_that_disagree() -> None:
    case = Case("fake", "numpy", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)
    ranks = [RankRecord(core, affinity=[core], ledger={"tf32": tf32, "dtype": "float32"})
             for core, tf32 in ((0, "on"), (1, "off"))]
    found = build_ledger(case, [ranks, ranks])
    assert found["tf32"] == "off and on" and found["dtype"] == "float32"
    assert found["cores_per_device"] == "1" and found["workload"] == "mlp tiny"
    together = [replace(record, affinity=[0]) for record in ranks]
    assert build_ledger(case, [together])["cores_per_device"] == "0.5"


def test_the_fastest_is_among_the_best_and_its_ties() -> None:
    """Of 16 cases the first is truly fastest by a hair: left out in at most 5 % of runs."""
    generator = np.random.default_rng(0)
    left_out, runs = 0, 200
    for _ in range(runs):
        speeds = np.r_[0.999, np.ones(15)][:, None] * np.exp(generator.normal(0, 0.03, (16, 7)))
        rows = [replace(_row(list(row)), step_time_s=float(np.median(row))) for row in speeds]
        best, *others = sorted(rows, key=lambda row: row.step_seconds)
        if best is not rows[0]:
            verdicts = [one.verdict for row, one in may_be_fastest(best, others) if row is rows[0]]
            left_out += verdicts == ["faster"]
    assert left_out <= 0.08 * runs


def _tie(distance: float, deviation: float = 0.1, pairs: int = 3) -> Comparison:
    """A log-ratio at this distance from 0, of which three pairs deviate by so much."""
    reach = deviation * 4.302653 / math.sqrt(3)  # t(0.975, 2)
    return Comparison(math.exp(distance), math.exp(distance - reach), math.exp(distance + reach),
                      "tie", pairs=pairs)


@pytest.mark.parametrize(("distance", "pairs"), [
    (0.1, 7),  # t(0.975, 6) = 2.447 < √7, and t(0.975, 5) = 2.571 > √6
    (-0.1, 7), (0.3, 4), (1e-6, None),
])
def test_pairs_that_would_tell_by_hand(distance: float, pairs: int | None) -> None:
    assert _tie(distance).pairs_to_tell() == pairs


def test_without_an_interval_one_more_pair_gives_one() -> None:
    assert Comparison(1.1, math.nan, math.nan, "", pairs=1).pairs_to_tell() == 2
