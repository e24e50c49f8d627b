"""``python -m suite compare``: compares later runs with the first, and exits with 3 on a
regression.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.analysis.comparison import COMPARED, compare_runs, regressions
from suite.cli.console import printer
from suite.config.values import parse_share
from suite.contract.errors import UsageError
from suite.contract.row import Row
from suite.report import compared
from suite.runfolder.files import write_output
from suite.runfolder.pytest_benchmark import import_rows
from suite.runfolder.reading import read_run

REGRESSION = 3
Limit = tuple[str, float]


@dataclass(frozen=True)
class Outputs:
    """Where a comparison is written besides the terminal.

    Attributes:
        json: Whether to print JSON instead of tables.
        markdown: The file to write as Markdown, if any.
        html: The file to write as a page, if any.
    """

    json: bool = False
    markdown: Path | None = None
    html: Path | None = None


def compare(
    paths: Sequence[Path], metrics: Sequence[str], fail_on: Sequence[str], each_alone: bool,
    outputs: Outputs,
) -> int:
    """Compares each later run with the first, case by case.

    Args:
        paths: Run folders or files of pytest-benchmark, the oldest first; at least two.
        metrics: The metrics to compare; step time if empty.
        fail_on: Limits such as ``step_time:5%``.
        each_alone: Whether each verdict holds at 95 % by itself, rather than all of them together.
        outputs: Where else the comparison is written.

    Returns:
        The exit code: 3 if a row got worse by more than a limit and beyond chance, else 0.

    Raises:
        UsageError: If a path, metric or limit is wrong, or there is only one path.
    """
    if len(paths) < 2:
        fix = "name the older run first: compare RUN_A RUN_B"
        raise UsageError("compare", len(paths), "two runs or more", fix)
    limits = [parse_limit(text) for text in fail_on]
    wanted = list(dict.fromkeys([*metrics, *(name for name, _ in limits)])) or ["step_time"]
    for name in wanted:
        _known(name)
    known: dict[Path, tuple[dict[str, Any], list[Row]]] = {}
    # The rows live until the end and hold no reference cycles (see suite.cli.report).
    gc.disable()
    for path in paths:
        if path.resolve() not in known:
            known[path.resolve()] = read_rows(path)
    first, *others = (known[path.resolve()] for path in paths)
    comparisons = [
        compare_runs(first, other, wanted, not each_alone, _one_run(paths[0], path))
        for path, other in zip(paths[1:], others, strict=True)
    ]
    for path, comparison in zip(paths[1:], comparisons, strict=True):
        if not comparison.rows:
            cases = ", ".join(comparison.only_before[:3]) or "it has none"
            expected = f"a case of {paths[0]}: {cases}"
            raise UsageError("RUN", str(path), expected, "compare runs of the same cases")
    failed = [regressions(comparison.rows, limits) for comparison in comparisons]
    _write(outputs, comparisons, failed)
    return REGRESSION if any(failed) else 0


def _one_run(a: Path, b: Path) -> bool:
    """Returns whether both paths lead to the same folder or file; two runs may share a name."""
    return a.resolve() == b.resolve()


def read_rows(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Reads ``run.json`` and the rows of a run folder, or of a file of pytest-benchmark.

    Returns:
        The content of ``run.json`` (of a benchmark file: what stands for it), and the rows.

    Raises:
        UsageError: If the path is neither.
    """
    if path.suffix == ".json":
        return import_rows(path)
    stored = read_run(path)
    return stored.run, stored.rows()


def parse_limit(text: str) -> Limit:
    """Parses a limit: ``step_time:5%`` becomes ``("step_time", 0.05)``.

    Raises:
        UsageError: If the text has another form or names a metric that is not compared.
    """
    name, _, share = text.partition(":")
    _known(name)
    try:
        return name, parse_share(share)
    except ValueError as error:
        expected = f"metric:threshold, {error}"
        raise UsageError("--fail-on", text, expected, 'for example "step_time:5%"') from None


def _known(name: str) -> None:
    if name not in COMPARED:
        raise UsageError("metric", name, f"one of {', '.join(COMPARED)}", "pick one of these")


def _write(outputs: Outputs, comparisons: list[Any], failed: list[Any]) -> None:
    pairs = list(zip(comparisons, failed, strict=True))
    if outputs.markdown:
        texts = [compared.markdown(comparison, regressed) for comparison, regressed in pairs]
        write_output("--markdown", outputs.markdown, "\n".join(texts))
    if outputs.html:
        parts = [
            (compared.summary(comparison, regressed), compared.HEAD,
             [compared.cells(row) for row in comparison.rows])
            for comparison, regressed in pairs
        ]
        write_output("--html", outputs.html, compared.page("Comparison of runs", parts))
    if outputs.json:
        content = [compared.as_json(comparison, regressed) for comparison, regressed in pairs]
        print(json.dumps(content, indent=1))
        return
    console = printer()
    for comparison, regressed in pairs:
        console.print(compared.terminal(comparison))
        for line in compared.summary(comparison, regressed):
            style = "red" if line.startswith("Reg") else ""
            console.print(line, highlight=False, soft_wrap=True, style=style)
