"""The data that the page's tables and charts draw: rows by column, bounded samples, links."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from operator import attrgetter
from typing import Any

import numpy as np
from markupsafe import Markup

from suite.analysis.ledger import MUST_EQUAL
from suite.analysis.link_calls import call_seconds, loops_of
from suite.analysis.link_fit import IDENTITY, LinkFit
from suite.contract.columns import Metric
from suite.contract.files import TableRow
from suite.contract.formats import kept
from suite.contract.metrics import METRICS
from suite.contract.records import ShareCourse
from suite.contract.registry import label
from suite.contract.row import Row
from suite.report.axes import differing, family
from suite.report.breakdown import breakdown
from suite.report.host_scaling import build_host_scalings
from suite.report.matrix import Grid
from suite.report.memory_frontier import frontier_series
from suite.report.names import case_name, framework_name
from suite.report.reproduce import OWN, shared_options
from suite.report.scaling import Scaling
from suite.report.scaling_payload import over_hosts, scaling_figures, scalings_of

# Bounds on what a page holds in all, and (at least, at most) on what it holds of a case.
STEPS_AT_MOST, LOSSES_AT_MOST = 60_000, 20_000
STEPS_A_CASE = 12, 200
DEVICES_AT_MOST, DEVICES_A_CASE = 40_000, (4, 64)
# The page shows these in places of their own.
NOT_COLUMNS = ("run_id", "warnings", "ledger")


def build_payload(
    run: Mapping[str, Any], rows: Sequence[Row], grids: Sequence[Grid], losses: Iterable[TableRow],
    links: Iterable[TableRow], fits: Sequence[LinkFit], scalings: Sequence[Scaling] = (),
) -> dict[str, Any]:
    """Collects the data of the page, ready for JSON. Its size grows with cases, not with steps.

    Args:
        run: Content of run.json.
        rows: Rows of the run. The data names each by its number.
        grids: Grids of the run.
        losses: Rows of ``losses.csv``.
        links: Rows of ``link.csv``.
        fits: The fitted links.
        scalings: Workloads on several numbers of devices.
    """
    shown = [metric for metric in METRICS if metric.name not in NOT_COLUMNS]
    place = {row.case_id: number for number, row in enumerate(rows)}
    warnings = _Interned()
    ledgers = _Interned()
    return {
        "count": len(rows),
        "names": [case_name(row) for row in rows],
        "frameworks": [framework_name(row) for row in rows],
        "metrics": [_metric(metric) for metric in shown],
        "columns": {m.name: _column(m, list(map(attrgetter(m.name), rows))) for m in shown},
        "start": _start(grids, scalings),
        "axes": differing(rows),
        "scalings": [scaling_figures(scaling, place) for scaling in scalings],
        "host_scalings": [over_hosts(one) for one in build_host_scalings(rows)],
        "grids": [_grid(grid, place, mine)
                  for grid, mine in zip(grids, scalings_of(grids, scalings), strict=True)],
        "launches": [_numbers(row.launch_step_s) for row in rows],
        "steps": _steps(rows),
        "devices": _devices(rows),
        "shares": [_shares(row.share_course) for row in rows],
        "parts": [_parts(row) for row in rows],
        "frontier": [frontier_series(row) for row in rows],
        "warnings": [[warnings.add((w.code, w.message, w.hint)) for w in row.warnings]
                     for row in rows],
        "warning_texts": warnings.values,
        "ledgers": [ledgers.add(tuple(row.ledger.items())) for row in rows],
        "ledger_texts": [dict(items) for items in ledgers.values],
        "must_equal": MUST_EQUAL,
        "command_options": OWN,
        "command_end": shared_options(run["configuration"]),
        "losses": _losses(rows, losses),
        "links": link_series(links, fits),
    }


class _Interned:
    """Keeps equal values once and gives each a number."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def add(self, value: Any) -> int:
        """Returns the number of a value; equal values have the same number."""
        return self.numbers.setdefault(value, len(self.numbers))

    @property
    def values(self) -> list[Any]:
        """Every value once, in the order of the numbers."""
        return list(self.numbers)


def _metric(metric: Metric) -> dict[str, str]:
    return {"name": metric.name, "label": metric.label, "unit": metric.unit, "kind": metric.kind,
            "better": metric.better, "definition": metric.definition}


def _column(metric: Metric, values: list[Any]) -> dict[str, Any]:
    """Returns numbers as they are, and texts by number, because most texts repeat.

    Of a column with one value, as most have that a run does not use, the page holds that value.
    """
    if metric.kind != "text":
        numbers = [rounded(value) for value in values]
        return {"same": numbers[0]} if len(set(numbers)) == 1 else {"numbers": numbers}
    texts = _Interned()
    places = [texts.add("" if value is None else value) for value in values]
    return {"texts": texts.values, "at": places if len(texts.values) > 1 else []}


def rounded(value: Any) -> float | None:
    """Rounds a figure to the digits of the page's data; None for what is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    return kept(value)


def _numbers(values: Sequence[Any] | None) -> list[float | None]:
    return [rounded(value) for value in values or ()]


def _parts(row: Row) -> list[float | None] | None:
    parts = breakdown(row)
    return None if parts is None else _numbers(astuple(parts))


def _start(grids: Sequence[Grid], scalings: Sequence[Scaling]) -> int:
    """Returns the number of the grid to show first.

    If the run has several numbers of devices, it is the grid of the fastest one.
    """
    if not scalings or not grids or family(grids[0].rows) != scalings[0].family:
        return 0
    counts = [max(row.devices for row in grid.rows) for grid in grids]
    wanted = scalings[0].best_devices
    return counts.index(wanted) if wanted in counts else 0


def _grid(
    grid: Grid, place: Mapping[str, int], scalings: Sequence[int]
) -> dict[str, Any]:
    compared = grid.ranking.compared if grid.ranking else []
    return {
        "title": grid.title,
        "rows": [place[row.case_id] for row in grid.rows],
        "scaling": scalings,
        "best": place[grid.ranking.best.case_id] if grid.ranking else None,
        "compared": [
            [place[row.case_id], rounded(comparison.ratio), rounded(comparison.low),
             rounded(comparison.high), comparison.verdict, comparison.reason]
            for row, comparison in compared
        ],
    }


def _steps(rows: Sequence[Row]) -> list[list[float | None]]:
    """Returns clean steps in the order they ran, thinned evenly to what a page can hold."""
    each = _share(STEPS_AT_MOST, STEPS_A_CASE, len(rows))
    return [_thin(row.step_sample_s or (), each) for row in rows]


def _devices(rows: Sequence[Row]) -> list[list[float | None]]:
    """Returns T_i of each device; if there are too many, a sample in the order of busy time."""
    each = _share(DEVICES_AT_MOST, DEVICES_A_CASE, len(rows))
    by_row = (row.device_compute_s or [] for row in rows)
    return [_numbers(busy) if len(busy) <= each else _thin(sorted(busy), each) for busy in by_row]


def _shares(course: ShareCourse | None) -> dict[str, Any] | None:
    """Shares or stages step by step, of as many devices as a page can hold."""
    if course is None:
        return None
    most = DEVICES_A_CASE[1]
    return {"kind": course.kind, "steps": course.steps,
            "shares": [shares[:most] for shares in course.shares],
            "busy": [_numbers(busy[:most]) for busy in course.busy_seconds]}


def _share(total: int, bounds: tuple[int, int], rows: int) -> int:
    fewest, most = bounds
    return max(fewest, min(most, total // max(1, rows)))


def _thin(values: Sequence[float], count: int) -> list[float | None]:
    if len(values) <= count:
        return _numbers(values)
    chosen = np.linspace(0, len(values) - 1, count).round().astype(int)
    return [rounded(values[number]) for number in chosen]


def _losses(rows: Sequence[Row], losses: Iterable[TableRow]) -> dict[str, list[Any]]:
    """Returns losses by the number of their row, for as many steps as a page can hold.

    Returns:
        Number of a row to [loss, reference, relative difference] of each step.
    """
    place = {row.case_id: number for number, row in enumerate(rows)}
    by_row: dict[str, list[Any]] = {}
    for count, step in enumerate(losses):
        if count >= LOSSES_AT_MOST:
            break
        if step["case_id"] in place:
            figures = [rounded(step["loss"]), rounded(step["reference_loss"]),
                       rounded(loss_difference(step))]
            by_row.setdefault(str(place[step["case_id"]]), []).append(figures)
    return by_row


def loss_difference(step: TableRow) -> float:
    """Returns how far a loss is from the reference, relative to the reference.

    It is computed from exact losses, because the rounded losses of a page cannot show it.

    Args:
        step: A row of ``losses.csv``.
    """
    expected = float(step["reference_loss"])
    return abs(float(step["loss"]) - expected) / max(abs(expected), 1e-12)


def link_series(links: Iterable[TableRow], fits: Sequence[LinkFit]) -> list[dict[str, Any]]:
    """Returns the data of each link's chart.

    Args:
        links: Rows of ``link.csv``.
        fits: The fitted links.

    Returns:
        For each link: fastest, median and upper quartile of the calls by payload, in seconds and
        bytes, and the fitted line.
    """
    groups: dict[tuple[Any, ...], list[TableRow]] = {}
    for sample in links:
        key = *(sample[name] for name in IDENTITY), loops_of(sample)
        groups.setdefault(key, []).append(sample)
    fitted = {(*(getattr(fit, name) for name in IDENTITY), fit.event_loops): fit for fit in fits}
    return [_series(key, group, fitted.get(key)) for key, group in groups.items()]


def _series(key: tuple[Any, ...], samples: list[TableRow], fit: LinkFit | None) -> dict[str, Any]:
    sizes, seconds = call_seconds(samples)
    fastest, median, high = np.quantile(seconds, (0.0, 0.5, 0.75), axis=0)
    usable = fit is not None and fit.status == "ok"
    line = [fit.seconds(size) for size in sizes] if fit is not None and usable else []
    identity = dict(zip((*IDENTITY, "event_loops"), key, strict=True))
    return identity | {
        "name": label(identity["framework"], identity["engine"]),
        "bytes": _numbers(sizes.tolist()),
        "fastest": _numbers(fastest.tolist()), "median": _numbers(median.tolist()),
        "high": _numbers(high.tolist()), "line": _numbers(line),
        "alpha_s_per_byte": rounded(fit.alpha_s_per_byte) if fit and usable else None,
        "latency_s": rounded(fit.latency_s) if fit and usable else None,
        "heldout_error_mean": rounded(fit.heldout_error_mean) if fit and usable else None,
    }


def embed(payload: Any) -> Markup:
    """Writes JSON for a script element; nothing in it can end the element or be read as HTML."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
