"""Comparisons of runs for the terminal, as Markdown, as JSON and as a page."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
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
# At most so many undecided cases are listed, each with a command that would decide it.
DECIDED_AT_MOST = 3
# Lines of a terminal's table; every row that differs comes before one that does not.
ROWS_AT_MOST = 400
HEAD = ("case", "metric", "before", "after", "change", "interval", "verdict", "why")


def cells(row: RowComparison) -> tuple[str, ...]:
    """Returns what a reader sees of a comparison, under ``HEAD``; changes are in per cent."""
    show = BY_NAME[COMPARED[row.metric]].show
    change = "" if math.isnan(row.change) else f"{row.change - 1:+.1%}"
    interval = "" if math.isnan(row.low) else f"[{row.low - 1:+.1%}, {row.high - 1:+.1%}]"
    differ = f"these settings differ too: {', '.join(row.differences)}" if row.differences else ""
    why = row.reason or differ
    return (row.case_id, row.metric, show(row.before), show(row.after), change, interval,
            row.verdict, why)


def summary(comparison: RunComparison, failed: Sequence[RowComparison]) -> list[str]:
    """Returns the lines beside the table: counts, what differs, what is undecided, what regressed.

    Args:
        comparison: The comparison.
        failed: The rows that got worse than they may.
    """
    counts = Counter(row.verdict or "no verdict" for row in comparison.rows)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [f"{comparison.before} -> {comparison.after}: {verdicts or 'no common case'}"]
    if comparison.rows:
        lines.append(_how(comparison.rows))
    lines += [f"The machine differs: {'; '.join(comparison.machine)}"] if comparison.machine else []
    for run, names in ((comparison.before, comparison.only_before),
                       (comparison.after, comparison.only_after)):
        lines += [f"Only in {run}: {', '.join(names)}"] if names else []
    lines += _decided_by(comparison.undecided)
    return lines + [
        f"Regression: {row.case_id}, {row.metric} {row.change - 1:+.1%}" for row in failed
    ]


def _decided_by(undecided: Sequence[Undecided]) -> list[str]:
    """Lists what is known too imprecisely, with commands that decide it, few enough to read."""
    lines = []
    for case in undecided[:DECIDED_AT_MOST]:
        lines.append(f"Too wide to decide: {case.case_id}, {', '.join(case.metrics)} may be up to "
                     f"{case.reach:.1%} apart either way.")
        if case.command:
            missing = f" ({case.missing})" if case.missing else ""
            lines.append(f"One run of both decides it{missing}: {case.command}")
    more = len(undecided) - DECIDED_AT_MOST
    return lines + ([f"Too wide to decide: {more} more cases"] if more > 0 else [])


def _how(rows: Sequence[RowComparison]) -> str:
    level = rows[0].level
    paired = any(row.pairs for row in rows)
    sample = "blocks of one run, paired" if paired else "launches of two runs, unpaired"
    if level > 0.95:
        return (f"Change is new over old, over {sample}. Each interval holds {level:.2%}, so that "
                "all verdicts together hold 95 %.")
    return f"Change is new over old, over {sample}. Each interval holds {level:.0%}."


def terminal(comparison: RunComparison) -> Table:
    """Makes the table of a comparison for a terminal.

    Of very many rows it has those that differ first, then the others, and says how many are left
    out: a terminal is read from its end, and laying ten thousand lines out takes seconds.
    """
    table = Table(*HEAD)
    for column in table.columns[2:6]:
        column.no_wrap, column.justify = True, "right"
    rows, more = comparison.rows, len(comparison.rows) - ROWS_AT_MOST
    if more > 0:
        chosen = sorted(range(len(rows)), key=lambda at: rows[at].verdict not in STYLES)
        rows = [rows[at] for at in sorted(chosen[:ROWS_AT_MOST])]
        table.caption = f"{more} more rows: --json, --markdown and --html have all"
    for row in rows:
        *plain, verdict, why = cells(row)
        table.add_row(*plain, Text(verdict, style=STYLES.get(verdict, "")), why)
    return table


def markdown(comparison: RunComparison, failed: Sequence[RowComparison]) -> str:
    """Writes a comparison for a pull request: the verdict first, then a table.

    Args:
        comparison: The comparison.
        failed: The rows that got worse than they may.
    """
    first, *rest = map(_escaped, summary(comparison, failed))
    lines = [f"**{first}**", "", *(f"- {line}" for line in rest), ""]
    if comparison.rows:
        lines += [_line(HEAD), _line("---" for _ in HEAD)]
        lines += [_line(map(_escaped, cells(row))) for row in comparison.rows]
    return "\n".join(lines) + "\n"


def _line(texts: Any) -> str:
    return f"| {' | '.join(texts)} |"


def _escaped(text: str) -> str:
    """Escapes text for Markdown: it is shown as it is, calls nobody by name, and stays one line.

    A lone bracket, or an underscore within a word, has no meaning in Markdown and is kept.
    """
    plain = html.escape(" ".join(text.split()), quote=False).replace("@", "@\u200b")
    return re.sub(r"([\\`*~|!#]|\](?=[(\[:])|\b_|_\b)", r"\\\1", plain)


def as_json(comparison: RunComparison, failed: Sequence[RowComparison]) -> dict[str, Any]:
    """Returns a comparison as plain values; figures that do not exist are null.

    Args:
        comparison: The comparison.
        failed: The rows that got worse than they may.
    """
    return {
        "before": comparison.before, "after": comparison.after, "machine": comparison.machine,
        "only_before": comparison.only_before, "only_after": comparison.only_after,
        "rows": [plain(asdict(row)) for row in comparison.rows],
        "undecided": [asdict(case) for case in comparison.undecided],
        "regressions": [{"case_id": row.case_id, "metric": row.metric} for row in failed],
    }


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replaces NaN by None, because JSON has no NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in values.items()}


# A part of a page: its lines of text, then the head and the rows of its table.
Part = tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]


def page(title: str, parts: Sequence[Part]) -> str:
    """Writes a page of comparisons as one self-contained HTML file."""
    environment = Environment(loader=PackageLoader("suite.report", "."), autoescape=True)
    return environment.get_template("compared.html.j2").render(title=title, parts=parts)
