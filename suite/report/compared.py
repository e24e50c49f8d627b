"""Comparisons of runs to terminal, Markdown, JSON and a page."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader
from rich.table import Table
from rich.text import Text

from suite.analysis.comparison import COMPARED, RowComparison, RunComparison
from suite.analysis.deciding import Undecided
from suite.contract.metrics import BY_NAME

STYLES = {"faster": "green", "better": "green", "slower": "red", "worse": "red"}
DECIDED_AT_MOST = 3
HEAD = ("case", "metric", "before", "after", "change", "interval", "verdict", "why")


def cells(row: RowComparison) -> tuple[str, ...]:
    """What a reader sees of a row, under ``HEAD``; change and interval in per cent."""
    show = BY_NAME[COMPARED[row.metric]].show
    change = "" if math.isnan(row.change) else f"{row.change - 1:+.1%}"
    interval = "" if math.isnan(row.low) else f"[{row.low - 1:+.1%}, {row.high - 1:+.1%}]"
    why = row.reason or (f"also differs: {', '.join(row.differences)}" if row.differences else "")
    return (row.case_id, row.metric, show(row.before), show(row.after), change, interval,
            row.verdict, why)


def summary(found: RunComparison, failed: Sequence[RowComparison]) -> list[str]:
    """Lines above and below the table."""
    counts: dict[str, int] = {}
    for row in found.rows:
        counts[row.verdict or "no verdict"] = counts.get(row.verdict or "no verdict", 0) + 1
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no common case"
    lines = [f"{found.before} -> {found.after}: {said}"]
    if found.rows:
        lines.append(_how(found.rows))
    lines += [f"The machine differs: {'; '.join(found.machine)}"] if found.machine else []
    for run, names in ((found.before, found.only_before), (found.after, found.only_after)):
        lines += [f"Only in {run}: {', '.join(names)}"] if names else []
    lines += _decided_by(found.undecided)
    return lines + [
        f"Regression: {row.case_id}, {row.metric} {row.change - 1:+.1%}" for row in failed
    ]


def _decided_by(undecided: Sequence[Undecided]) -> list[str]:
    """What is too widely known, and the commands that would decide it, few enough to read."""
    lines = []
    for one in undecided[:DECIDED_AT_MOST]:
        lines.append(f"Too wide to decide: {one.case_id}, {', '.join(one.metrics)} may be up to "
                     f"{one.reach:.1%} apart either way.")
        if one.command:
            also = f" ({one.missing})" if one.missing else ""
            lines.append(f"One run of both decides it{also}: {one.command}")
    more = len(undecided) - DECIDED_AT_MOST
    return lines + ([f"Too wide to decide: {more} more cases"] if more > 0 else [])


def _how(rows: Sequence[RowComparison]) -> str:
    level = rows[0].level
    paired = any(row.pairs for row in rows)
    sample = "blocks of one run, paired" if paired else "launches of two runs, unpaired"
    if level > 0.95:
        return (f"Change is new over old, over {sample}. Intervals hold {level:.2%} each, "
                "95 % for all verdicts together.")
    return f"Change is new over old, over {sample}. Intervals hold {level:.0%} each."


def terminal(found: RunComparison) -> Table:
    """The comparison as a table for a terminal."""
    table = Table(*HEAD)
    for column in table.columns[2:6]:
        column.no_wrap, column.justify = True, "right"
    for row in found.rows:
        *plain, verdict, why = cells(row)
        table.add_row(*plain, Text(verdict, style=STYLES.get(verdict, "")), why)
    return table


def markdown(found: RunComparison, failed: Sequence[RowComparison]) -> str:
    """For a pull request: the verdict first, then a table."""
    first, *rest = map(_escaped, summary(found, failed))
    lines = [f"**{first}**", "", *(f"- {line}" for line in rest), ""]
    if found.rows:
        lines += [_line(HEAD), _line("---" for _ in HEAD)]
        lines += [_line(map(_escaped, cells(row))) for row in found.rows]
    return "\n".join(lines) + "\n"


def _line(texts: Any) -> str:
    return f"| {' | '.join(texts)} |"


def _escaped(text: str) -> str:
    """Shown as it is: no markup, no HTML, nobody called by name, one line.

    A lone bracket, or an underscore within a word, marks nothing.
    """
    plain = html.escape(" ".join(text.split()), quote=False).replace("@", "@\u200b")
    return re.sub(r"([\\`*~|!#]|\](?=[(\[:])|\b_|_\b)", r"\\\1", plain)


def as_json(found: RunComparison, failed: Sequence[RowComparison]) -> dict[str, Any]:
    """Plain values; figures that do not exist are null."""
    return {
        "before": found.before, "after": found.after, "machine": found.machine,
        "only_before": found.only_before, "only_after": found.only_after,
        "rows": [plain(asdict(row)) for row in found.rows],
        "undecided": [asdict(one) for one in found.undecided],
        "regressions": [{"case_id": row.case_id, "metric": row.metric} for row in failed],
    }


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()}


Part = tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]


def page(title: str, parts: Sequence[Part]) -> str:
    """One self-contained file; each part is its lines of text, then a head and the table's rows."""
    environment = Environment(loader=PackageLoader("suite.report", "."), autoescape=True)
    return environment.get_template("compared.html.j2").render(title=title, parts=parts)
