"""A run's warnings in the terminal: a line a kind, and the gravest first."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from suite.contract.row import Row
from suite.contract.warnings import REGISTRY, warn
from suite.report.dangers import KINDS, doubt_lines, gravest_first
from suite.report.doubts import doubts, grouped_warnings, noise
from suite.report.terminal import comparison
from tests.planted_run import small_run

FIGURES: dict[str, object] = {
    "launches": 3, "needed": 6, "total": 3, "share": 0.4, "limit": 0.1, "asked": 0.03,
    "factor": 28.64, "reason": "threads without a core 6.29 ms (97 %)",
    "exposed_ms": 36.21, "saved_ms": 12.61, "what": "core", "bytes": 1.29e6,
}
MEASURED = ("few_launches", "noisy", "no_steady_state", "imprecise", "drift", "steal",
            "oversubscribed", "run_over_link", "comm_check", "probe_overhead", "shared_pool",
            "unsteady_transfer")


@pytest.fixture()
def rows() -> list[Row]:
    found = [row for row in small_run().rows() if row.status == "ok"]
    for row in found:
        row.warnings = []
    return found


def _noisy(row: Row, share: float) -> None:
    row.warnings.append(warn("noisy", share=share, limit=0.1))


def _printed(rows: list[Row], width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(*comparison(rows, width, "results/r"))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    return lines[next(i for i, line in enumerate(lines) if "What to doubt" in line) + 2:]


def test_every_warning_has_a_line() -> None:
    assert set(KINDS) == set(REGISTRY)


@pytest.mark.parametrize("width", [80, 160])
def test_a_doubt_takes_one_line(rows: list[Row], width: int) -> None:
    for row in rows:
        row.warnings = [warn(code, **FIGURES) for code in MEASURED]
    lines = _printed(rows, width)
    assert len(list(filter(None, lines))) == len(MEASURED)
    assert all(f"all {len(rows)}" in line for line in lines if line)


def test_a_cause_of_noise_is_said_once_with_its_highest_figure(rows: list[Row]) -> None:
    assert noise(rows) == ""
    for row, cores, lost in zip(rows, (0.54, 0.63, 0.2), (0.3, 0.02, 0.1), strict=False):
        row.warnings = [warn("neighbours", cores=cores, who=": make 0.5"),
                        warn("steal", share=lost, limit=0.01)]
    said = noise(rows)
    assert said.startswith("The machine was noisy: other programs kept 0.63 cores busy")
    assert said.count("other programs") == 1 and "gave 30%" in said and "10%" not in said
    assert "steps of" not in said
    for row in rows:
        _noisy(row, 0.2)
    assert f"steps of {len(rows)} of {len(rows)} cases vary" in noise(rows)


def test_the_worst_figure_stands_with_its_case(rows: list[Row]) -> None:
    for row, share in zip(rows[:3], (0.2, 0.35, 0.3), strict=True):
        _noisy(row, share)
    named, counted = doubt_lines(rows)[0], doubt_lines(rows, named=False)[0]
    assert counted.worst == "vary by 35%" and counted.cases == f"3 of {len(rows)}"
    assert named.worst.startswith("vary by 35% (") and named.fix == "close other programs"


def test_fewer_launches_are_worse(rows: list[Row]) -> None:
    for row, launches in zip(rows, (5, 2, 3), strict=False):
        row.warnings = [warn("few_launches", launches=launches, needed=6)]
    assert doubt_lines(rows)[0].worst.startswith("2, wanted 6")


def test_cases_all_of_a_kind_are_counted_as_such(rows: list[Row]) -> None:
    split = [row for row in rows if row.strategy == "data"]
    for row in split:
        _noisy(row, 0.2)
    assert len(split) > 1 and doubt_lines(rows)[0].cases == f"all {len(split)} data"


def test_one_case_is_named(rows: list[Row]) -> None:
    _noisy(rows[0], 0.2)
    assert doubt_lines(rows)[0].cases.startswith(rows[0].framework)
    assert doubt_lines(rows, named=False)[0].cases == f"1 of {len(rows)}"


def test_what_endangers_the_order_comes_before_what_explains_it(rows: list[Row]) -> None:
    assert gravest_first({"run_over_link": 9, "few_launches": 9, "drift": 1}) == [
        "drift", "few_launches", "run_over_link"]
    assert gravest_first({"few_launches": 1, "noisy": 2}) == ["noisy", "few_launches"]
    for row in rows:
        row.warnings = [warn("run_over_link", **FIGURES), warn("few_launches", **FIGURES)]
    rows[0].warnings.append(warn("drift", **FIGURES))
    assert [line.name for line in doubt_lines(rows)] == [
        "machine drifted", "few launches", "slow transfers"]
    # The page lists the same kinds in the same order.
    assert [text.split(":")[0] for text, _ in grouped_warnings(rows)] == [
        "drift", "few_launches", "run_over_link"]
    assert doubts(rows)[0] == f"machine drifted (1 of {len(rows)} cases)"
