"""Compares two runs row by row: better, worse or a tie in one metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.analysis.deciding import WIDE, Undecided, deciding
from suite.analysis.ledger import differences, obstacle
from suite.analysis.statistics import LEVEL, Interval, ratio_interval, unpaired_ratio_interval
from suite.analysis.verdict import NOT_COMPARABLE, paired, verdict_of
from suite.contract.metrics import BY_NAME
from suite.contract.row import Row

# Name by which a user asks for a metric -> its column.
COMPARED = {
    "step_time": "step_time_s", "time": "time_s", "throughput": "throughput_samples_s",
    "throughput_tokens": "throughput_tokens_s", "peak_memory": "peak_memory_bytes",
    "t_comm": "t_comm_s", "t_comm_exposed": "t_comm_exposed_s", "t_comm_wait": "t_comm_wait_s",
    "t_comm_transfer": "t_comm_transfer_s", "compute_max": "compute_max_s",
    "load_balance": "load_balance",
}
# Entries of a run's environment that describe its machine.
MACHINE = ("processor", "cores", "gpus", "memory_bytes")


@dataclass(frozen=True)
class RowComparison:
    """One metric of one case in two runs.

    Attributes:
        case_id: The case.
        metric: A key of ``COMPARED``.
        before: The earlier figure, in the unit of the metric's column.
        after: The later figure, in the same unit.
        change: The later figure over the earlier one; 1 means that nothing changed.
        low: Lower end of its interval; NaN without an interval.
        high: Upper end of its interval; NaN without an interval.
        verdict: faster, slower, better, worse, tie, ``not comparable``, or empty if there is no
            interval.
        reason: Why there is no such verdict.
        launches: Number of launches before and after.
        pairs: Number of blocks that hold both, if launches were paired.
        level: Level of the interval.
        differences: Entries of the ledger that differ by nature, for the reader to know.
    """

    case_id: str
    metric: str
    before: float
    after: float
    change: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: str = ""
    reason: str = ""
    launches: tuple[int, int] = (0, 0)
    pairs: int = 0
    level: float = LEVEL
    differences: tuple[str, ...] = ()

    @property
    def reach(self) -> float:
        """How far from 1 the interval lets the change be, as a share; NaN without an interval."""
        return max(self.high - 1, 1 - self.low)

    def worse_by(self, share: float) -> bool:
        """Returns whether the metric got worse by more than ``share``, beyond chance."""
        if self.verdict not in ("slower", "worse"):
            return False
        lower = BY_NAME[COMPARED[self.metric]].better == "lower"
        return (self.change - 1 if lower else 1 - self.change) > share


@dataclass(frozen=True)
class RunComparison:
    """Two runs, compared in the cases that both have.

    Attributes:
        before: Name of the earlier run.
        after: Name of the later run.
        rows: Comparisons of the cases that both runs have.
        only_before: Cases that only the earlier run has.
        only_after: Cases that only the later run has.
        machine: What differs between the machines, in words.
        undecided: Cases whose ties are too wide to say anything.
    """

    before: str
    after: str
    rows: list[RowComparison]
    only_before: list[str]
    only_after: list[str]
    machine: list[str]
    undecided: list[Undecided] = field(default_factory=list)


def compare_runs(
    before: tuple[dict[str, Any], list[Row]], after: tuple[dict[str, Any], list[Row]],
    metrics: Sequence[str], together: bool = True, same_blocks: bool = False,
) -> RunComparison:
    """Compares two runs.

    Args:
        before: run.json and rows of the earlier run.
        after: run.json and rows of the later run.
        metrics: Keys of ``COMPARED``.
        together: Whether all verdicts of the comparison hold at 95 % at once (Bonferroni), so that
            a matrix of ties shows no difference in 95 of 100 comparisons. Otherwise each holds by
            itself.
        same_blocks: Whether both are one run, so that launches of the same block form a pair. The
            names of the runs do not tell, since two folders may have the same name.
    """
    (old_run, old_rows), (new_run, new_rows) = before, after
    old, new = ({row.case_id: row for row in rows} for rows in (old_rows, new_rows))
    both = [name for name in old if name in new]
    count = len(both) * len(metrics) if together else 1
    level = 1 - (1 - LEVEL) / max(1, count)
    rows = [compare_row(old[name], new[name], metric, level, same_blocks)
            for name in both for metric in metrics]
    machine = machine_differences(old_run.get("environment", {}), new_run.get("environment", {}))
    wide = {} if same_blocks else _too_wide(rows)
    return RunComparison(
        old_run["run_id"], new_run["run_id"], rows,
        [name for name in old if name not in new],
        [name for name in new if name not in old],
        machine,
        undecided=[deciding(name, metrics, new[name], (old_run, new_run), machine)
                   for name, metrics in wide.items()],
    )


def _too_wide(rows: Sequence[RowComparison]) -> dict[str, dict[str, float]]:
    """Finds the ties that let the change be larger than ``WIDE``.

    Returns:
        Case to metric to reach.
    """
    wide: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.verdict == "tie" and row.reach > WIDE:
            wide.setdefault(row.case_id, {})[row.metric] = row.reach
    return wide


def compare_row(
    old: Row, new: Row, metric: str, level: float = LEVEL, same_blocks: bool = False
) -> RowComparison:
    """Compares one metric of a case in two runs, if the ledgers allow it.

    Args:
        old: The case in the earlier run.
        new: The case in the later run.
        metric: A key of ``COMPARED``.
        level: Level of the interval.
        same_blocks: Whether launches of the same block form a pair; two different runs share no
            blocks.
    """
    why = [f"{row.status} {when}: {row.reason}"
           for row, when in ((old, "before"), (new, "after")) if row.status != "ok"]
    against = why[0] if why else obstacle(old.ledger, new.ledger)
    if against:
        return RowComparison(**_told(old, new, metric, level), verdict=NOT_COMPARABLE,
                             reason=against)
    return compare_figures(old, new, metric, level, same_blocks)


def compare_figures(
    old: Row, new: Row, metric: str, level: float = LEVEL, same_blocks: bool = False
) -> RowComparison:
    """Compares one metric of two rows, whatever their ledgers say.

    Args:
        old: The earlier row.
        new: The later row.
        metric: A key of ``COMPARED``.
        level: Level of the interval.
        same_blocks: Whether launches of the same block form a pair.
    """
    column, told = COMPARED[metric], _told(old, new, metric, level)
    samples = (old.launch_samples.get(column, []), new.launch_samples.get(column, []))
    before, after = ([value for value in blocks if value is not None] for blocks in samples)
    if not after or not before or min(*after, *before) <= 0:
        return RowComparison(**told, reason=f"{metric} is missing or zero in one of the two")
    pairs = paired(samples[1], samples[0]) if same_blocks else []
    if same_blocks and not pairs:
        return RowComparison(**told, reason="no block holds both")
    if pairs:
        change = ratio_interval([later for later, _ in pairs], [earlier for _, earlier in pairs],
                                level)
    else:
        change = unpaired_ratio_interval(after, before, level)
    verdict = _verdict(column, change)
    return RowComparison(
        **told, change=change.estimate, low=change.low, high=change.high, verdict=verdict,
        reason="" if verdict else "one launch has no interval",
        launches=(len(before), len(after)), pairs=len(pairs),
        differences=tuple(differences(old.ledger, new.ledger)),
    )


def _told(old: Row, new: Row, metric: str, level: float) -> dict[str, Any]:
    """Returns what a comparison says before anything is compared."""
    column = COMPARED[metric]
    return {"case_id": old.case_id, "metric": metric, "level": level,
            "before": _figure(old, column), "after": _figure(new, column)}


def _figure(row: Row, column: str) -> float:
    value = row.value(column)
    return math.nan if value is None else float(value)


def _verdict(column: str, change: Interval) -> str:
    """Says what a change, new over old, means for a metric.

    The interval of a metric that does not vary may have no width.
    """
    low, high = change.low, change.high
    if BY_NAME[column].better == "lower" and not math.isnan(low):
        low, high = 1 / high, 1 / low
    verdict = verdict_of(low, high)
    if BY_NAME[column].unit in ("s", "1/s"):
        return verdict
    return {"faster": "better", "slower": "worse"}.get(verdict, verdict)


def machine_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lists what differs between machines and versions, as ``name: old -> new``.

    Args:
        old: Environment of the earlier run's run.json.
        new: Environment of the later run's run.json.
    """
    machine = [f"{name}: {old.get(name)} -> {new.get(name)}" for name in MACHINE
               if old.get(name) != new.get(name)]
    was, now = old.get("versions", {}), new.get("versions", {})
    return machine + [f"{name}: {was.get(name) or 'none'} -> {now.get(name) or 'none'}"
                      for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]


def regressions(
    rows: Sequence[RowComparison], limits: Sequence[tuple[str, float]]
) -> list[RowComparison]:
    """Returns the rows that got worse by more than their metric's limit, beyond chance.

    Args:
        rows: Comparisons of two runs.
        limits: (metric, share) pairs.
    """
    return [row for row in rows for metric, share in limits
            if row.metric == metric and row.worse_by(share)]
