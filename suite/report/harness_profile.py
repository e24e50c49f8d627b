"""Where the seconds of a run's launches go, and what the harness takes beside them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from suite.analysis.rows import CaseResult
from suite.contract.registry import label

# Column -> phases of a rank that it holds (suite/ranks/entry.py).
COLUMNS = {
    "import": ("import",), "inputs": ("inputs",), "build": ("rendezvous",), "proof": ("proof",),
    "warm-up": ("warm-up",), "measure": ("clean steps",),
    "probes": ("timed steps", "traced steps", "silent steps", "matrix products"),
    "teardown": ("teardown", "record"),
}
OUTSIDE = "start, end"
NOTHING = "No launch here recorded its phases: none finished, or an earlier release made them."


def phase_seconds(result: CaseResult) -> list[dict[str, float]]:
    """For each launch that recorded its phases, the seconds of each column of the table.

    A launch is as long as its slowest rank in each phase. What is left of it is the start and the
    end of its processes: interpreter, the adapter's own helper, waiting for the last to go.
    """
    found = []
    for number, records in enumerate(result.launches):
        if not records or number not in result.seconds or not all(r.phases for r in records):
            continue
        names = dict.fromkeys(name for record in records for name in record.phases)
        slowest = {name: max(one.phases.get(name, 0.0) for one in records) for name in names}
        each = {column: sum(slowest.get(name, 0.0) for name in phases)
                for column, phases in COLUMNS.items()}
        whole = max(sum(record.phases.values()) for record in records)
        found.append(each | {OUTSIDE: max(0.0, result.seconds[number] - whole),
                             "launch": result.seconds[number]})
    return found


def profile_table(results: Sequence[CaseResult]) -> Table | None:
    """A line for each framework and way of splitting, in seconds.

    Means over launches add up to the mean launch. Medians would not: only some launches are probed.
    """
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for result in results:
        case = result.case
        key = label(case.framework, case.engine), case.strategy
        groups.setdefault(key, []).extend(phase_seconds(result))
    known = {key: launches for key, launches in groups.items() if launches}
    if not known:
        return None
    names = [*COLUMNS, OUTSIDE, "launch"]
    table = Table("seconds of a launch", "launches", *names, title_justify="left",
                  title="Where launches spend their time: means; the slowest rank of each phase")
    for column in table.columns[1:]:
        column.justify = "right"
    for (framework, strategy), launches in known.items():
        means = (statistics.fmean(one[name] for one in launches) for name in names)
        table.add_row(f"{framework} {strategy}", str(len(launches)), *map("{:.2f}".format, means))
    return table


def harness_profile(
    results: Sequence[CaseResult], harness_s: Mapping[str, float]
) -> Iterator[RenderableType]:
    """Yields the table of launches, then the harness's own seconds.

    Args:
        results: Of the run, with all launches.
        harness_s: ``harness_s`` of run.json: seconds of the whole run by what was done.
    """
    yield profile_table(results) or Text(NOTHING)
    launches = sum(sum(result.seconds.values()) for result in results)
    parts = [f"{name} {seconds:.1f} s" for name, seconds in harness_s.items()]
    yield Text(f"All launches: {launches:.1f} s. The harness beside them: "
               f"{', '.join(parts) or 'not recorded'}.\n")
