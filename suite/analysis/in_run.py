"""What a communication costs inside a step: a second alpha, fitted to the run's own calls.

The link sweep finds what the idle link can do. Inside a step the threads that communicate share the
device's core with the threads that compute, and that costs latency which no idle sweep shows. So
the line T(B) = a + alpha·B is fitted a second time, to the transfers of the run's timed steps, and
checked on launches that were left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.analysis.comm_model import idle_seconds, share_of
from suite.analysis.comm_reasons import Transfer
from suite.analysis.link_fit import LinkFit
from suite.analysis.statistics import median
from suite.analysis.transfers import together
from suite.contract.row import Row

# Kind -> (payload bytes, transfer seconds) of each communication of a launch's median step.
Transfers = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class InRunFit:
    """T(B) = ``latency_s`` + ``alpha_s_per_byte``·B of one kind of communication, neither below 0.
    """

    latency_s: float
    alpha_s_per_byte: float

    def seconds(self, payload_bytes: float) -> float:
        """T(B) on the line."""
        return self.latency_s + self.alpha_s_per_byte * payload_bytes


@dataclass(frozen=True)
class InRunModel:
    """T_comm transfer of a row by its own fit.

    ``latency_s`` is a mean over communications, ``alpha_s_per_byte`` one over bytes, so that
    ``transfer_s`` = N·latency_s + alpha_s_per_byte·B·N (of hops over devices, see ``share_of``).
    ``heldout_error`` is how far a launch is from the fit of all others: relative, median over
    launches; None with fewer than two.
    """

    latency_s: float
    alpha_s_per_byte: float
    transfer_s: float
    heldout_error: float | None


def fit_calls(
    calls: Sequence[tuple[int, float]], idle_alpha_s_per_byte: float | None = None
) -> InRunFit:
    """The line through the calls of one kind that has their mean.

    Least squares, since the sum over a step is to be right. The slope is not below the idle
    link's: a byte does not cost less beside computing. Calls of a single size cannot tell latency
    from bytes; the link's slope tells them apart, and without a link all of it is latency.

    Args:
        calls: (payload bytes, seconds) of at least one communication.
        idle_alpha_s_per_byte: The slope of the link sweep, if there was one.
    """
    sizes, seconds = np.asarray(calls, float).T
    floor = max(0.0, idle_alpha_s_per_byte or 0.0)
    spread = sizes - sizes.mean()
    varied = float(spread @ spread)
    slope = float(spread @ seconds) / varied if varied else floor
    slope = max(slope, floor)
    mean_size, mean_seconds = float(sizes.mean()), float(seconds.mean())
    latency = mean_seconds - slope * mean_size
    if latency >= 0:
        return InRunFit(latency, slope)
    return InRunFit(0.0, mean_seconds / mean_size)


def in_run_model(
    launches: Sequence[Transfers], devices: int, idle_alphas: Mapping[str, float]
) -> InRunModel | None:
    """The row's fit over its probed launches; None where no communication was seen with its size.

    Args:
        launches: The transfers of each launch.
        devices: Devices of the case.
        idle_alphas: Kind -> slope of its link sweep, seconds a byte.
    """
    known = [one for one in launches if one]
    if not known:
        return None
    fits = _fits(known, idle_alphas)
    steps = [_counted(one) for one in known]
    count = median([sum(number for number, _ in one.values()) for one in steps])
    moved = median([sum(size for _, size in one.values()) for one in steps])
    total = median([_predicted(fits, one, devices) for one in known])
    by_latency = median([
        sum(number * fits[kind].latency_s for kind, (number, _) in one.items()) for one in steps
    ])
    by_bytes = median([
        sum(size * fits[kind].alpha_s_per_byte for kind, (_, size) in one.items()) for one in steps
    ])
    return InRunModel(
        by_latency / count, by_bytes / moved, total, _heldout_error(known, devices, idle_alphas)
    )


def _fits(
    launches: Sequence[Transfers], idle_alphas: Mapping[str, float]
) -> dict[str, InRunFit]:
    return {kind: fit_calls(calls, idle_alphas.get(kind))
            for kind, calls in _typical(launches).items()}


def _typical(launches: Sequence[Transfers]) -> dict[str, list[tuple[int, float]]]:
    """Every communication once, with the median of its seconds over launches, as the row has them.

    Where launches made different ones, by fusing differently, all of them.
    """
    kinds = dict.fromkeys(kind for one in launches for kind in one)
    return {kind: _merged([one[kind] for one in launches if kind in one]) for kind in kinds}


def _merged(launches: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    if len({tuple(size for size, _ in calls) for calls in launches}) > 1:
        return [call for calls in launches for call in calls]
    return [(same[0][0], median([seconds for _, seconds in same]))
            for same in zip(*launches, strict=True)]


def _counted(transfers: Transfers) -> dict[str, tuple[int, int]]:
    """Kind -> (communications, their bytes)."""
    return {
        kind: (len(calls), sum(size for size, _ in calls)) for kind, calls in transfers.items()
    }


def _predicted(fits: Mapping[str, InRunFit], transfers: Transfers, devices: int) -> float:
    """T_comm transfer that the fits give the communications of a launch, mean over devices."""
    return sum(
        share_of(kind, devices) * fits[kind].seconds(size)
        for kind, calls in transfers.items() for size, _ in calls
    )


def _heldout_error(
    launches: Sequence[Transfers], devices: int, idle_alphas: Mapping[str, float]
) -> float | None:
    errors = []
    for number, left_out in enumerate(launches):
        fits = _fits([*launches[:number], *launches[number + 1:]], idle_alphas)
        measured = together(left_out, devices)
        if measured > 0 and set(left_out) <= set(fits):
            errors.append(abs(_predicted(fits, left_out, devices) / measured - 1.0))
    return median(errors) if errors else None


def in_run_columns(
    row: Row, launches: Sequence[Transfers], links: Mapping[str, LinkFit]
) -> dict[str, Any]:
    """The columns of the second alpha, and what transfer is made of; {} without transfers.

    Args:
        row: With its T_comm columns.
        launches: The transfers of each probed launch.
        links: Kind -> the idle link's fit, of the kinds that were swept.
    """
    alphas = {kind: link.alpha_s_per_byte or 0.0 for kind, link in links.items()}
    model = in_run_model(launches, row.devices, alphas)
    if model is None:
        return {}
    columns: dict[str, Any] = {
        "alpha_run_s_per_byte": model.alpha_s_per_byte, "latency_run_s": model.latency_s,
        "t_comm_run_model_s": model.transfer_s, "run_model_error": model.heldout_error,
    }
    transfer = transfer_of(row, launches, links)
    if transfer is None:
        return columns
    return columns | {"run_over_link": transfer.factor, "comm_reason": transfer.text()}


def transfer_of(
    row: Row, launches: Sequence[Transfers], links: Mapping[str, LinkFit]
) -> Transfer | None:
    """What the row's T_comm transfer is made of; None where it was not measured."""
    if not row.t_comm_transfer_s:
        return None
    first = next(one for one in launches if one)
    payloads = {kind: [size for size, _ in calls] for kind, calls in first.items()}
    return Transfer(
        row.t_comm_transfer_s, idle_seconds(links, payloads, row.devices),
        row.t_comm_scheduling_s, row.t_comm_handling_s,
    )
