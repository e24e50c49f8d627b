"""A against B of one run: each metric as a ratio over the blocks that hold both."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from suite.analysis.comparison import RowComparison, compare_figures
from suite.contract.row import Row

STEP_TIME = "step_time"
# Metrics of the table, in its order; those that no launch has are left out.
METRICS = (
    STEP_TIME, "throughput", "throughput_tokens", "t_comm", "t_comm_wait", "t_comm_transfer",
    "t_comm_exposed", "compute_max", "load_balance", "peak_memory",
)
UNSET = "not set"


def compare_sides(a: Row, b: Row) -> list[RowComparison]:
    """B over A of every metric that both have, paired by block; each interval holds 95 % alone.

    What differs between the sides is what is asked about, so ledgers keep nothing from comparison.
    """
    found = [compare_figures(a, b, metric, same_blocks=True) for metric in METRICS]
    return [one for one in found if not math.isnan(one.before) and not math.isnan(one.after)]


def step_time_of(rows: Sequence[RowComparison]) -> RowComparison | None:
    """The comparison that the answer is taken from; None where no launch finished."""
    return next((row for row in rows if row.metric == STEP_TIME), None)


def setting_differences(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Environment settings that are not alike, as ``NAME: of A against of B``."""
    return [f"environment {text}" for text in _unlike(a, b)]


def option_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Options that are not alike, by their flags."""
    plain = ({f"--{name.replace('_', '-')}": _text(value) for name, value in side.items()}
             for side in (a, b))
    return list(_unlike(*plain))


def ledger_differences(a: Row, b: Row, told: Collection[str] = ()) -> list[str]:
    """Entries of the fairness ledger, versions among them, that are not alike.

    Args:
        a: Row of A.
        b: Row of B.
        told: Names of options, which are told by their flags already.
    """
    rest = ({name: text for name, text in row.ledger.items() if name not in told}
            for row in (a, b))
    return [f"ledger {text}" for text in _unlike(*rest)]


def _unlike(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*a, *b]):
        one, other = a.get(name, UNSET), b.get(name, UNSET)
        if one != other:
            yield f"{name}: {one} against {other}"


def _text(value: Any) -> str:
    """A value as the command line takes it; one that is empty stands for a default."""
    if isinstance(value, dict):
        value = [f"{key}={text}" for key, text in value.items()]
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return str(value) if value not in (None, "") else "default"
