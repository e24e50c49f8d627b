"""Rows to what a reader sees first: an answer and a grid for each workload and device count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from suite.analysis.verdict import NOT_COMPARABLE
from suite.report.headline import Headline, Ranking, headline, rank, speedup_text
from suite.report.names import framework_name, listed, names_in
from suite.spec.metrics import BY_NAME
from suite.spec.strategies import STRATEGIES

Row = dict[str, Any]
SAME = ("workload", "size", "data", "device", "mode", "dtype")


@dataclass(frozen=True)
class Cell:
    """One case of the grid; ``speedup`` is None where none is given, ``best`` the lowest median.

    ``why`` is exposed T_comm and L at a glance; ``unranked`` says why the case may not be compared
    with the best one.
    """

    row: Row
    status: str
    step: str
    speedup: float | None
    speedup_text: str
    why: str
    note: str
    best: bool
    unranked: str = ""


@dataclass(frozen=True)
class Grid:
    """Frameworks down, ways of splitting across, for one workload on a number of devices."""

    title: str
    rows: list[Row]
    ranking: Ranking | None
    headline: Headline
    strategies: list[str]
    lines: list[tuple[str, list[Cell | None]]]

    @property
    def verdict(self) -> str:
        return str(self.headline)

    @cached_property
    def slowest_s(self) -> float:
        """The longest step time of the grid's cells."""
        return max(row["step_time_s"] for row in self.rows if row["status"] == "ok")


def build_grids(rows: list[Row]) -> list[Grid]:
    """One grid a workload, size and number of devices, in the order of the rows."""
    return [_grid(group) for group in _groups(rows)]


def _groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that answer one question; single devices stand beside every number of devices."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row.get(name) for name in SAME), []).append(row)
    found = []
    for group in alike.values():
        counts = sorted({row["devices"] for row in group if row["strategy"] != "single"})
        found += [
            [r for r in group if r["strategy"] == "single" or r["devices"] == count]
            for count in counts
        ] or [group]
    return found


def _column(row: Row) -> str:
    return " ".join(part for part in (row["strategy"], row["variant"]) if part)


def _grid(rows: list[Row]) -> Grid:
    order = {name: place for place, name in enumerate(STRATEGIES)}
    columns = sorted(dict.fromkeys(map(_column, rows)), key=lambda c: order[c.split(" ")[0]])
    ranking = rank(rows)
    held = {(framework_name(row), _column(row)): row for row in rows}
    refused = {
        row["case_id"]: one.reason for row, one in (ranking.compared if ranking else [])
        if one.verdict == NOT_COMPARABLE
    }
    lines = [
        (name, [_cell(held.get((name, column)), ranking, refused) for column in columns])
        for name in dict.fromkeys(framework_name(row) for row in rows)
    ]
    return Grid(_title(rows), rows, ranking, headline(ranking), columns, lines)


def _title(rows: list[Row]) -> str:
    first, devices = rows[0], max(row["devices"] for row in rows)
    title = (
        f"{first['workload']} {first['size']}, global batch {first['global_batch']}, "
        f"{devices} {first['device']} device{'s' if devices > 1 else ''}"
    )
    unusual = (("dtype", "float32"), ("mode", "eager"))
    kinds = [first[name] for name, usual in unusual if first.get(name, usual) != usual]
    return ", ".join([title, *kinds])


def _cell(row: Row | None, ranking: Ranking | None, refused: dict[str, str]) -> Cell | None:
    if row is None:
        return None
    if row["status"] != "ok":
        return Cell(row, row["status"], "", None, "", "", row["reason"], False)
    note = "; ".join(dict.fromkeys(warning.code for warning in row["warnings"]))
    # Its own base needs no 1.00×.
    text = "" if row["strategy"] == "single" else speedup_text(row)
    return Cell(
        row, "ok", BY_NAME["step_time_s"].show(row["step_time_s"]), row.get("speedup"), text,
        _why(row), note, ranking is not None and row is ranking.best,
        refused.get(row["case_id"], ""),
    )


def _why(row: Row) -> str:
    share = exposed_share(row)
    parts = [] if share is None else [f"exposed {100 * share:.0f} %"]
    if row["devices"] > 1 and row.get("load_balance") is not None:
        parts.append(f"L {row['load_balance']:.2f}")
    return " · ".join(parts)


def exposed_share(row: Row) -> float | None:
    """Exposed T_comm over the step it was measured in; None where it was not."""
    exposed, length = row.get("t_comm_exposed_s"), row.get("clocked_step_s")
    return None if exposed is None or not length else exposed / length


def proven(rows: list[Row]) -> str:
    """How many cases are at parity with their reference, and of which workloads not all are."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['workload']} {row['size']}", []).append(row)
    text = f"{_at_parity(rows)} cases proven to train the same model as one device in float64"
    lacking = [f"{name} {_at_parity(some)}" for name, some in groups.items()
               if any(row["parity"] != "ok" for row in some)]
    return f"{text}: {', '.join(lacking)}." if lacking and len(groups) > 1 else f"{text}."


def _at_parity(rows: list[Row]) -> str:
    return f"{sum(row['parity'] == 'ok' for row in rows)} of {len(rows)}"


def grouped_warnings(rows: list[Row]) -> list[tuple[str, str]]:
    """Each kind of warning once, with the cases it concerns; figures of their own stay by them."""
    name = names_in(rows)
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        for warning in row["warnings"]:
            found.setdefault((warning.code, warning.hint), []).append((warning.message, name(row)))
    return [_one_kind(*kind, said, len(rows)) for kind, said in found.items()]


def _one_kind(code: str, hint: str, said: list[tuple[str, str]], total: int) -> tuple[str, str]:
    messages = list(dict.fromkeys(message for message, _ in said))
    if len(messages) == 1:
        return f"{code}: {messages[0]}; {hint}", listed([who for _, who in said], total)
    return f"{code}: {hint}", listed([f"{who}: {text}" for text, who in said])


def grouped_reasons(rows: list[Row]) -> list[tuple[str, str]]:
    """Why cases did not run, each reason once with its cases."""
    name = names_in(rows)
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] != "ok":
            found.setdefault(f"{row['status']}: {row['reason']}", []).append(name(row))
    return [(text, listed(where, len(rows))) for text, where in found.items()]
