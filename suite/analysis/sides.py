"""Compares side A with side B of one run: each metric is a ratio over the blocks that hold both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from suite.analysis.comparison import RowComparison, compare_figures
from suite.contract.row import Row

STEP_TIME = "step_time"
# Metrics in the order of the table, which leaves out those that no launch has.
METRICS = (
    STEP_TIME, "throughput", "throughput_tokens", "t_comm", "t_comm_wait", "t_comm_transfer",
    "t_comm_exposed", "compute_max", "load_balance", "peak_memory",
)
UNSET = "not set"


def compare_sides(a: Row, b: Row) -> list[RowComparison]:
    """Compares every metric that both sides have, as B over A, paired by block.

    The user asks what the difference between the sides does, so a difference between the ledgers
    does not keep them from being compared. Each interval holds 95 % by itself.

    Args:
        a: Row of side A.
        b: Row of side B.
    """
    rows = [compare_figures(a, b, metric, same_blocks=True) for metric in METRICS]
    return [row for row in rows if not math.isnan(row.before) and not math.isnan(row.after)]


def step_time_of(rows: Sequence[RowComparison]) -> RowComparison | None:
    """Returns the comparison of step times, which gives the answer; None if no launch finished."""
    return next((row for row in rows if row.metric == STEP_TIME), None)


def setting_differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Lists the environment settings that differ, as ``environment NAME: x against y``.

    Args:
        a: Settings of side A.
        b: Settings of side B.
    """
    return [f"environment {text}" for text in _unlike(a, b)]


def option_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Lists the options that differ, by their flags.

    Args:
        a: Name to value of side A's options.
        b: Name to value of side B's options.
    """
    plain = ({f"--{name.replace('_', '-')}": _text(value) for name, value in side.items()}
             for side in (a, b))
    return list(_unlike(*plain))


def ledger_differences(a: Row, b: Row, told: Collection[str] = ()) -> list[str]:
    """Lists the entries of the fairness ledger that differ; versions are among them.

    Args:
        a: Row of side A.
        b: Row of side B.
        told: Names of options, which are listed by their flags already.
    """
    rest = ({name: text for name, text in row.ledger.items() if name not in told}
            for row in (a, b))
    return [f"ledger {text}" for text in _unlike(*rest)]


def _unlike(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*a, *b]):
        of_a, of_b = a.get(name, UNSET), b.get(name, UNSET)
        if of_a != of_b:
            yield f"{name}: {of_a} against {of_b}"


def _text(value: Any) -> str:
    """Writes a value as the command line takes it; an empty one stands for the default."""
    if isinstance(value, dict):
        value = [f"{key}={text}" for key, text in value.items()]
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return str(value) if value not in (None, "") else "default"
