"""What a communication costs inside a step: a second alpha, fitted to the run's own calls.

The link sweep finds what the idle link can do. Inside a step the threads that communicate share
the device's core with the threads that compute, and that costs latency which no idle sweep shows.
So the line T(B) = a + alpha·B is fitted a second time, to the transfers of the run's timed steps,
and checked on launches that were left out of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.analysis.comm_model import bytes_part, idle_seconds, share_of, waking_part
from suite.analysis.comm_reasons import Transfer
from suite.analysis.link_fit import LinkFit
from suite.analysis.statistics import median
from suite.analysis.transfers import total_seconds
from suite.contract.row import Row

# Kind -> (payload bytes, transfer seconds) of each communication of a launch's median step.
Transfers = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class InRunFit:
    """The line T(B) = ``latency_s`` + ``alpha_s_per_byte``·B of one kind of communication.

    Neither of the two is below 0.
    """

    latency_s: float
    alpha_s_per_byte: float

    def seconds(self, payload_bytes: float) -> float:
        """Returns T(B) in seconds."""
        return self.latency_s + self.alpha_s_per_byte * payload_bytes


@dataclass(frozen=True)
class InRunModel:
    """T_comm transfer of a row, as its own fit predicts it.

    Attributes:
        latency_s: Mean latency of a communication, in seconds.
        alpha_s_per_byte: Mean alpha of a byte, so that ``transfer_s`` = N·``latency_s`` +
            ``alpha_s_per_byte``·B·N (with point-to-point transfers divided by devices, see
            ``share_of``).
        transfer_s: The predicted T_comm transfer, in seconds.
        heldout_error: How far a launch is from the fit of all others: relative, median over
            launches; None with fewer than two launches.
    """

    latency_s: float
    alpha_s_per_byte: float
    transfer_s: float
    heldout_error: float | None


def fit_calls(
    calls: Sequence[tuple[float, float]], idle_alpha_s_per_byte: float | None = None
) -> InRunFit:
    """Fits the line through the calls of one kind, such that it has their mean.

    It minimises squared errors, since the sum over a step has to be right. The slope is not below
    the idle link's, because a byte does not cost less beside computing. Calls of a single size
    cannot tell latency from bytes: then the link's slope tells them apart, and without a link all
    of the time is latency.

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
    """Fits a row's own model to its probed launches.

    Args:
        launches: The transfers of each launch.
        devices: Devices of the case.
        idle_alphas: Kind of communication to the slope of its link sweep, in seconds per byte.

    Returns:
        The model; None if no communication was seen together with its size.
    """
    known = [launch for launch in launches if launch]
    if not known:
        return None
    fits = _fits(known, devices, idle_alphas)
    steps = [_counted(launch) for launch in known]
    count = median([sum(number for number, _ in step.values()) for step in steps])
    moved = median([sum(size for _, size in step.values()) for step in steps])
    total = median([_predicted(fits, launch, devices) for launch in known])
    by_latency = median([
        sum(number * fits[kind].latency_s for kind, (number, _) in step.items())
        for step in steps
    ])
    by_bytes = median([
        sum(size * fits[kind].alpha_s_per_byte for kind, (_, size) in step.items())
        for step in steps
    ])
    return InRunModel(
        by_latency / count, by_bytes / moved, total, _heldout_error(known, devices, idle_alphas)
    )


def _fits(
    launches: Sequence[Transfers], devices: int, idle_alphas: Mapping[str, float]
) -> dict[str, InRunFit]:
    """Fits each kind of communication such that the launches' median total is predicted.

    A call may be late in every launch, and another one in each: then no call's median is late, and
    the medians of the calls add up to less than the median of the launches. So what was fitted to
    the calls is scaled to the totals, as the calls of one launch are.
    """
    typical = _typical(launches)
    fits = _fitted(typical, idle_alphas)
    predicted = median([_predicted(fits, launch, devices) for launch in launches])
    if not predicted:  # copies within a process that began and ended at the same reading
        return fits
    scale = median([total_seconds(launch, devices) for launch in launches]) / predicted
    return _fitted({
        kind: [(size, scale * seconds) for size, seconds in calls]
        for kind, calls in typical.items()
    }, idle_alphas)


def _fitted(
    calls: Mapping[str, Sequence[tuple[float, float]]], idle_alphas: Mapping[str, float]
) -> dict[str, InRunFit]:
    return {kind: fit_calls(same, idle_alphas.get(kind)) for kind, same in calls.items()}


def _typical(launches: Sequence[Transfers]) -> dict[str, list[tuple[float, float]]]:
    """Lists every communication once, with the median of its seconds over launches.

    Where launches made different communications, by fusing differently, it lists the mean one of
    each launch: what one of several fused communications took by itself is not known.
    """
    kinds = dict.fromkeys(kind for launch in launches for kind in launch)
    return {kind: _merged([launch[kind] for launch in launches if kind in launch])
            for kind in kinds}


def _merged(launches: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[float, float]]:
    if len({tuple(size for size, _ in calls) for calls in launches}) > 1:
        return [tuple(np.mean(calls, axis=0).tolist()) for calls in launches]
    return [(same[0][0], median([seconds for _, seconds in same]))
            for same in zip(*launches, strict=True)]


def _counted(transfers: Transfers) -> dict[str, tuple[int, int]]:
    """Returns for each kind the number of communications and their bytes in all."""
    return {
        kind: (len(calls), sum(size for size, _ in calls)) for kind, calls in transfers.items()
    }


def _predicted(fits: Mapping[str, InRunFit], transfers: Transfers, devices: int) -> float:
    """Returns the T_comm transfer that the fits predict for a launch, mean over devices."""
    return sum(
        share_of(kind, devices) * fits[kind].seconds(size)
        for kind, calls in transfers.items() for size, _ in calls
    )


def _heldout_error(
    launches: Sequence[Transfers], devices: int, idle_alphas: Mapping[str, float]
) -> float | None:
    errors = []
    for number, left_out in enumerate(launches):
        others = [*launches[:number], *launches[number + 1:]]
        fits = _fits(others, devices, idle_alphas) if others else {}
        measured = total_seconds(left_out, devices)
        if measured > 0 and set(left_out) <= set(fits):
            errors.append(abs(_predicted(fits, left_out, devices) / measured - 1.0))
    return median(errors) if errors else None


def in_run_columns(
    row: Row, launches: Sequence[Transfers], links: Mapping[str, LinkFit]
) -> dict[str, Any]:
    """Computes the columns of the second alpha and of what transfer consists of.

    Args:
        row: The row, with its T_comm columns.
        launches: The transfers of each probed launch.
        links: Kind of communication to the idle link's fit, for the kinds that were swept.

    Returns:
        Columns of the row; empty without transfers.
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
    """Says what the row's T_comm transfer consists of; None if it was not measured.

    Args:
        row: The row, with its T_comm columns.
        launches: The transfers of each probed launch, at least one of them not empty.
        links: Kind of communication to the idle link's fit.
    """
    if not row.t_comm_transfer_s:
        return None
    first = next(launch for launch in launches if launch)
    payloads = {kind: [size for size, _ in calls] for kind, calls in first.items()}
    return Transfer(
        whole_s=row.t_comm_transfer_s,
        link_s=idle_seconds(links, payloads, row.devices),
        scheduling_s=row.t_comm_scheduling_s, handling_s=row.t_comm_handling_s,
        bytes_s=idle_seconds(links, payloads, row.devices, bytes_part),
        waking_s=idle_seconds(links, payloads, row.devices, waking_part),
        negotiation_s=row.t_comm_negotiation_s, copies_s=row.t_comm_copy_s,
        turns_s=row.t_comm_turns_s,
    )
