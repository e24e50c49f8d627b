"""Several numbers of devices in one run: bounds, answers, and what parts a run into matrices."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import pytest
from rich.console import Console

from suite.analysis.scaling import serial_share
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.validation import validate
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.contract.splits.division import division_problem
from suite.contract.warnings import warn
from suite.measure.availability import unsupported_reason
from suite.report import axes
from suite.report.html import render
from suite.report.matrix import build_grids
from suite.report.names import names_in
from suite.report.scaling import build_answers, build_scalings
from suite.report.terminal import comparison, verdicts
from tests.planted_run import small_run


def _amdahl(serial: float, counts: tuple[int, ...], width: float = 0.1) -> list[Row]:
    speedups = [(n, 1 / (serial + (1 - serial) / n)) for n in counts]
    return [Row(devices=n, speedup=s, speedup_ci_low=s - width, speedup_ci_high=s + width)
            for n, s in speedups]


@pytest.mark.parametrize("serial", [0.0, 0.04, 0.5, 1.0])
@pytest.mark.parametrize("counts", [(2,), (2, 4), (2, 3, 8, 64)])
def test_a_planted_serial_share_is_found(serial: float, counts: tuple[int, ...]) -> None:
    found = serial_share(_amdahl(serial, counts))
    assert found is not None and found.share == pytest.approx(serial, abs=1e-12)
    assert found.low is not None and found.high is not None
    assert found.low <= found.share <= found.high
    assert found.speedup(counts[-1]) == pytest.approx(_amdahl(serial, counts)[-1].speedup)


def test_what_a_share_needs() -> None:
    assert serial_share([]) is None
    assert serial_share([Row(devices=1, speedup=0.9), Row(devices=2)]) is None
    more_than_linear = [Row(devices=2, speedup=2.2)]
    found = serial_share(more_than_linear)
    assert found is not None and (found.share, found.low, found.high) == (0.0, None, None)
    one_launch = [replace(row, speedup_ci_low=float("nan")) for row in _amdahl(0.1, (2, 4))]
    assert serial_share(one_launch).low is None  # type: ignore[union-attr]


def test_several_numbers_of_devices_share_their_bases() -> None:
    options = {"devices": ["2", "4"], "framework": ["pytorch"], "strategy": ["single", "data"]}
    config = resolve("quick", None, options)
    assert config.devices == [2, 4]
    ids = [case.case_id for case in build_matrix(config, 0)]
    assert ids == [f"pytorch.{name}" for name in
                   ("single.mlp-wide.cpu1", "data.mlp-wide.cpu2", "data.mlp-wide.cpu4")]


def test_one_of_several_numbers_may_not_divide() -> None:
    options = {"devices": ["2", "4"], "framework": ["pytorch"], "size": "tiny"}
    cases = {case.case_id: case for case in build_matrix(resolve("smoke", None, options), 0)}
    reason = unsupported_reason(cases["pytorch.intra_layer.mlp-tiny.cpu4"], {})
    assert reason == ("devices for mlp tiny, intra_layer: got 4, expected a divisor of "
                      "layer0.weight's 10")
    assert not division_problem(cases["pytorch.data.mlp-tiny.cpu4"])
    for none in (["4"], ["4", "8"]):  # nothing of a strategy would be left
        with pytest.raises(UsageError, match="got 4, expected a divisor of layer0"):
            build_matrix(resolve("smoke", None, options | {"devices": none}), 0)


def test_one_number_is_a_list_of_one() -> None:
    assert validate(RunConfig, {"devices": 4}).devices == [4]  # as older runs recorded it
    assert validate(RunConfig, {"devices": [2, 4, 2]}).devices == [2, 4]
    assert all(case.device == "cpu" for case in build_matrix(RunConfig(devices=[2, 4]), 2))
    assert all(case.device == "cuda" for case in build_matrix(RunConfig(devices=[2, 4]), 4))


@pytest.mark.parametrize("wrong", [0, "0", "2.5", "two", [2, 0], [], True, "²"])
def test_what_is_no_number_of_devices(wrong: Any) -> None:
    with pytest.raises(UsageError, match="option devices: got"):
        validate(RunConfig, {"devices": wrong})


def test_the_answer_is_over_all_numbers_of_devices() -> None:
    rows = small_run((2, 4)).rows()
    scalings, grids = build_scalings(rows), build_grids(rows)
    assert [one.counts for one in scalings] == [[2, 4], [2, 4]]
    assert "pytorch data on 4 devices" in scalings[0].headline.claim
    assert "By Amdahl's law its serial share is " in scalings[0].headline.support[-1]
    assert scalings[0].best_devices == 4
    series = {one.name: one for one in scalings[0].series}
    assert [row.devices for row in series["pytorch data"].rows] == [2, 4]
    assert series["tensorflow data"].left_out == {2: "not comparable"}
    assert series["tensorflow intra_layer"].left_out == {2: "timeout"}
    answers = build_answers(grids, scalings)
    assert [one.title for one in answers] == [
        "gpt small, global batch 8, 2 and 4 cpu devices",
        "mlp wide, global batch 128, 2 and 4 cpu devices",
    ]
    assert [len(one.grids) for one in answers] == [2, 2]
    assert len(verdicts(rows)) == 6 and verdicts(rows)[0].startswith(answers[0].title)


def test_one_number_of_devices_has_no_scaling() -> None:
    rows = small_run().rows()
    assert build_scalings(rows) == []
    assert [one.title for one in build_answers(build_grids(rows), [])] == [
        grid.title for grid in build_grids(rows)
    ]


def test_oversubscribed_counts_are_left_out_and_named() -> None:
    rows = small_run((2, 4)).rows()
    for row in rows:
        if row.devices == 4:
            row.speedup, row.warnings = None, [warn("oversubscribed", what="core")]
    found = build_scalings(rows)[0].series[0]
    assert found.left_out == {4: "oversubscribed"} and len(found.rows) == 1
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(*comparison(rows, 100, "results/r"))
    assert "oversubscribed" in console.export_text()


@pytest.mark.parametrize("counts", [(2, 4, 8), (2, 4, 8, 16, 32, 64)])
@pytest.mark.parametrize("width", [80, 160])
def test_the_table_fits(width: int, counts: tuple[int, ...]) -> None:
    rows = [row for row in small_run(counts).rows() if row.framework != "tensorflow"]
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(*comparison(rows, width, "results/r"))
    text = console.export_text()
    assert "Scaling: gpt small" in text and "serial share" in text and "…" not in text
    assert max(map(len, text.splitlines())) <= width


@dataclass(slots=True, kw_only=True)
class RoundsRow(Row):
    """A row with a column that the suite does not have."""

    rounds: int = 0


def _with_rounds(row: Row, rounds: int) -> RoundsRow:
    return RoundsRow(**row.as_dict(), rounds=rounds)


def test_an_axis_is_a_name_in_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that others add parts matrices, is named where it differs, and told once else."""
    rows = [_with_rounds(row, 3) for row in small_run().rows() if row.workload == "gpt"]
    twice = [replace(row, dtype=dtype, case_id=f"{row.case_id}.{dtype}")
             for dtype in ("float32", "bfloat16") for row in rows]
    monkeypatch.setitem(axes.AXES, "rounds", "{} rounds".format)
    assert axes.differing(twice) == ["dtype"]
    assert axes.common(twice) == ["real data", "eager", "3 rounds"]
    assert [grid.title for grid in build_grids(twice)] == [
        f"gpt small, global batch 8, 2 cpu devices, {dtype}" for dtype in ("float32", "bfloat16")
    ]
    assert names_in(twice)(twice[0]) == "pytorch single (float32)"
    assert names_in(rows)(rows[1]) == "pytorch data"
    other = [replace(row, rounds=rounds, case_id=f"{row.case_id}.{rounds}")
             for rounds in (1, 2) for row in rows]
    assert [grid.title.rpartition(", ")[2] for grid in build_grids(other)] == [
        "1 rounds", "2 rounds"]
    run = small_run()
    page = render(run.run, twice, [])
    assert "real data, eager, 3 rounds, seed 0" in " ".join(page.split())


def test_an_axis_that_follows_from_another_is_not_named() -> None:
    rows = small_run().rows()
    # gpt and mlp have a global batch each: the workload says it.
    assert axes.differing(rows) == ["workload"]
    assert names_in(rows)(rows[1]) == "pytorch data (gpt small)"
