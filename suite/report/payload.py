"""What the page's tables and charts draw: rows by column, bounded samples, links."""

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
from suite.analysis.link_fit import IDENTITY, LinkFit, call_seconds
from suite.contract.columns import Metric
from suite.contract.files import TableRow
from suite.contract.formats import kept
from suite.contract.metrics import METRICS
from suite.contract.row import Row, ShareCourse
from suite.report.axes import differing, family
from suite.report.breakdown import breakdown
from suite.report.matrix import Grid
from suite.report.memory_frontier import frontier_series
from suite.report.names import case_name
from suite.report.reproduce import OWN, shared_options
from suite.report.scaling import Scaling, said

STEPS_AT_MOST, LOSSES_AT_MOST = 60_000, 20_000
STEPS_A_CASE = 12, 200  # at least and at most
DEVICES_AT_MOST, DEVICES_A_CASE = 40_000, (4, 64)
# Drawn or told in places of their own.
NOT_COLUMNS = ("run_id", "warnings", "ledger")


def build_payload(
    run: Mapping[str, Any], rows: Sequence[Row], grids: Sequence[Grid], losses: Iterable[TableRow],
    links: Iterable[TableRow], fits: Sequence[LinkFit], scalings: Sequence[Scaling] = (),
) -> dict[str, Any]:
    """JSON-ready; its size grows with cases, not with steps."""
    shown = [metric for metric in METRICS if metric.name not in NOT_COLUMNS]
    place = {row.case_id: number for number, row in enumerate(rows)}
    warnings = _Interned()
    ledgers = _Interned()
    return {
        "count": len(rows),
        "names": [case_name(row) for row in rows],
        "metrics": [_metric(metric) for metric in shown],
        "columns": {m.name: _column(m, list(map(attrgetter(m.name), rows))) for m in shown},
        "start": _start(grids, scalings),
        "axes": differing(rows),
        "scalings": [_scaling(one, place) for one in scalings],
        "grids": [_grid(grid, place, {one.family: at for at, one in enumerate(scalings)})
                  for grid in grids],
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
    """Equal values once, by number."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def add(self, value: Any) -> int:
        """The number of a value, the same for equal values."""
        return self.numbers.setdefault(value, len(self.numbers))

    @property
    def values(self) -> list[Any]:
        """Every value once, in the order of their numbers."""
        return list(self.numbers)


def _metric(metric: Metric) -> dict[str, str]:
    return {"name": metric.name, "label": metric.label, "unit": metric.unit, "kind": metric.kind,
            "better": metric.better, "definition": metric.definition}


def _column(metric: Metric, values: list[Any]) -> dict[str, Any]:
    """Numbers as they are, texts by number: most repeat."""
    if metric.kind != "text":
        return {"numbers": [rounded(value) for value in values]}
    texts = _Interned()
    numbers = [texts.add("" if value is None else value) for value in values]
    return {"texts": texts.values, "at": numbers}


def rounded(value: Any) -> float | None:
    """As many digits as the page's data has; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return kept(value)


def _numbers(values: Sequence[Any] | None) -> list[float | None]:
    return [rounded(value) for value in values or ()]


def _parts(row: Row) -> list[float | None] | None:
    found = breakdown(row)
    return None if found is None else _numbers(astuple(found))


def _start(grids: Sequence[Grid], scalings: Sequence[Scaling]) -> int:
    """The grid to show first: of several numbers of devices the fastest one's."""
    if not scalings or not grids or family(grids[0].rows[0]) != scalings[0].family:
        return 0
    counts = [max(row.devices for row in grid.rows) for grid in grids]
    wanted = scalings[0].best_devices
    return counts.index(wanted) if wanted in counts else 0


def _scaling(found: Scaling, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "counts": found.counts,
        "series": [
            {"framework": one.framework, "column": one.column,
             "rows": [place[row.case_id] for row in one.rows],
             "left_out": list(one.left_out.items()),
             "serial": one.serial and _numbers(astuple(one.serial)),
             "said": one.serial and said(one.serial)}
            for one in found.series
        ],
    }


def _grid(
    grid: Grid, place: Mapping[str, int], scalings: Mapping[tuple[Any, ...], int]
) -> dict[str, Any]:
    compared = grid.ranking.compared if grid.ranking else []
    return {
        "title": grid.title,
        "rows": [place[row.case_id] for row in grid.rows],
        "scaling": scalings.get(family(grid.rows[0])),
        "best": place[grid.ranking.best.case_id] if grid.ranking else None,
        "compared": [
            [place[row.case_id], rounded(one.ratio), rounded(one.low), rounded(one.high),
             one.verdict, one.reason]
            for row, one in compared
        ],
    }


def _steps(rows: Sequence[Row]) -> list[list[float | None]]:
    """Clean steps in the order they ran, thinned evenly to what a page can hold."""
    each = _share(STEPS_AT_MOST, STEPS_A_CASE, len(rows))
    return [_thin(row.step_sample_s or (), each) for row in rows]


def _devices(rows: Sequence[Row]) -> list[list[float | None]]:
    """T_i by device; of more than a page can hold the ends and a sample, by busy time."""
    each = _share(DEVICES_AT_MOST, DEVICES_A_CASE, len(rows))
    found = (row.device_compute_s or [] for row in rows)
    return [_numbers(one) if len(one) <= each else _thin(sorted(one), each) for one in found]


def _shares(course: ShareCourse | None) -> dict[str, list[Any]] | None:
    """Shares step by step, of as many devices as a page can hold."""
    if course is None:
        return None
    most = DEVICES_A_CASE[1]
    return {"steps": course.steps, "samples": [one[:most] for one in course.samples],
            "busy": [_numbers(one[:most]) for one in course.busy_seconds]}


def _share(total: int, bounds: tuple[int, int], rows: int) -> int:
    fewest, most = bounds
    return max(fewest, min(most, total // max(1, rows)))


def _thin(values: Sequence[float], count: int) -> list[float | None]:
    if len(values) <= count:
        return _numbers(values)
    chosen = np.linspace(0, len(values) - 1, count).round().astype(int)
    return [rounded(values[number]) for number in chosen]


def _losses(rows: Sequence[Row], losses: Iterable[TableRow]) -> dict[str, list[Any]]:
    """Row number -> [loss, reference] of each step, of as many cases as a page can hold."""
    place = {row.case_id: number for number, row in enumerate(rows)}
    found: dict[str, list[Any]] = {}
    for count, one in enumerate(losses):
        if count >= LOSSES_AT_MOST:
            break
        if one["case_id"] in place:
            pair = [rounded(one["loss"]), rounded(one["reference_loss"]),
                    rounded(loss_difference(one))]
            found.setdefault(str(place[one["case_id"]]), []).append(pair)
    return found


def loss_difference(one: TableRow) -> float:
    """Relative to the reference; exact, since a page's rounded losses cannot show it."""
    expected = float(one["reference_loss"])
    return abs(float(one["loss"]) - expected) / max(abs(expected), 1e-12)


def link_series(links: Iterable[TableRow], fits: Sequence[LinkFit]) -> list[dict[str, Any]]:
    """One a link: a call's fastest, median and upper quartile by payload, and the fitted line."""
    groups: dict[tuple[Any, ...], list[TableRow]] = {}
    for sample in links:
        groups.setdefault(tuple(sample[name] for name in IDENTITY), []).append(sample)
    fitted = {tuple(getattr(fit, name) for name in IDENTITY): fit for fit in fits}
    return [_series(key, group, fitted.get(key)) for key, group in groups.items()]


def _series(key: tuple[Any, ...], samples: list[TableRow], fit: LinkFit | None) -> dict[str, Any]:
    sizes, seconds = call_seconds(samples)
    fastest, median, high = np.quantile(seconds, (0.0, 0.5, 0.75), axis=0)
    usable = fit is not None and fit.status == "ok"
    line = [fit.seconds(size) for size in sizes] if fit is not None and usable else []
    return dict(zip(IDENTITY, key, strict=True)) | {
        "bytes": _numbers(sizes.tolist()),
        "fastest": _numbers(fastest.tolist()), "median": _numbers(median.tolist()),
        "high": _numbers(high.tolist()), "line": _numbers(line),
        "alpha_s_per_byte": rounded(fit.alpha_s_per_byte) if fit and usable else None,
        "latency_s": rounded(fit.latency_s) if fit and usable else None,
        "heldout_error_mean": rounded(fit.heldout_error_mean) if fit and usable else None,
    }


def embed(payload: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element or start a line of its own."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
