"""Predicts T_comm from the idle link, and judges whether what a step measured is normal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from suite.analysis.communication import ACROSS, AMONG
from suite.analysis.link_fit import LinkFit
from suite.contract.formats import seconds, size_bytes
from suite.contract.registry import traits_of

# Transfer inside a step took 2.1 to 2.5 times as long as in the sweep (two CPU cores, gloo),
# because gloo's threads compete with compute.
NORMAL_UP_TO = 3.0
# If transfer takes less than this share of the sweep's time, the two do not measure the same: the
# step's calls were fused, or the link was busy while it was swept.
NORMAL_FROM = 0.67
# If the largest message takes less than this many times as long as an empty one, alpha is noise.
# A copy between devices of one process may hand the tensor over without copying.
FLAT_UP_TO = 1.5


def fits_by_kind(
    fits: Iterable[LinkFit], framework: str, engine: str, devices: int, hosts: int = 1
) -> dict[str, LinkFit]:
    """Picks the fits that apply to a row.

    Args:
        fits: The fits of the run's sweep.
        framework: Framework of the row.
        engine: Engine of the row.
        devices: Number of devices that take part in a collective. A point-to-point transfer is
            always between two.
        hosts: On how many hosts these devices are.

    Returns:
        Kind of communication, as traces name it, to its fit. An adapter may carry out a transfer
        between pipeline stages by another collective, whose fit is then used.
    """
    mine = [f for f in fits
            if f.idle and (f.framework, f.engine, f.status, f.hosts) == (
                framework, engine, "ok", hosts)]
    by_kind = {f.collective: f for f in mine if f.devices == devices}
    hop = traits_of(framework).hop
    for fit in mine:
        if (fit.collective, fit.devices) == (hop, 2):
            by_kind["send_recv"] = fit
    return by_kind


def links_of(
    fits: Iterable[LinkFit], framework: str, engine: str, devices: int, kinds: Iterable[str]
) -> dict[str, LinkFit]:
    """Finds the fit of each kind of communication, for as many devices as take part in it.

    Args:
        fits: The fits of the run's sweep.
        framework: Framework of the row.
        engine: Engine of the row.
        devices: Number of devices of the case.
        kinds: Kinds as ``communication.payloads`` names them, such as ``all_reduce@2^2``.

    Returns:
        Kind to fit; kinds that were not swept are missing.
    """
    every, links = list(fits), {}
    for kind in kinds:
        collective, members, hosts = _members(kind, devices)
        fit = fits_by_kind(every, framework, engine, members, hosts).get(collective)
        if fit:
            links[kind] = fit
    return links


def usable_links(
    fits: Sequence[LinkFit], framework: str, engine: str, devices: int,
    payloads: Mapping[str, Sequence[int]],
) -> dict[str, LinkFit]:
    """Finds the links that a step's communications can be compared with.

    Args:
        fits: The fits of the run's sweep.
        framework: Framework of the row.
        engine: Engine of the row.
        devices: Number of devices of the case.
        payloads: Kind of communication to payload bytes of each one in a step.

    Returns:
        Kind to fit; empty unless every kind was swept. A link on which bytes cost nothing is one
        too: its calls have a latency.
    """
    known = links_of(fits, framework, engine, devices, payloads)
    return known if set(payloads) <= set(known) else {}


def idle_seconds(
    links: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]], devices: int,
    of: Callable[[LinkFit, int], float] = LinkFit.seconds,
) -> float | None:
    """Returns Hockney's N·(a + alpha·B) of a step on the idle link, in seconds.

    Args:
        links: Kind of communication to fit.
        payloads: Kind of communication to payload bytes of each one in a step.
        devices: Number of devices of the case.
        of: Seconds of one communication, from its fit and its bytes.

    Returns:
        The mean over devices; None if a kind was not swept.
    """
    if not payloads or not set(payloads) <= set(links):
        return None
    return sum(
        share_of(kind, devices) * of(links[kind], size)
        for kind, sizes in payloads.items() for size in sizes
    )


def bytes_part(link: LinkFit, payload_bytes: int) -> float:
    """Returns alpha·B of one communication on the idle link, in seconds."""
    return max(link.alpha_s_per_byte or 0.0, 0.0) * payload_bytes


def waking_part(link: LinkFit, payload_bytes: int) -> float:
    """Returns what a usual call on the idle link takes beyond its fastest, in seconds."""
    return link.usual_over_fastest_s or 0.0


def _members(kind: str, devices: int) -> tuple[str, int, int]:
    """Takes ``all_reduce@2^2`` apart: among 2 devices, which are on 2 hosts.

    A kind without numbers is among all devices, on one host.
    """
    among, _, hosts = kind.partition(ACROSS)
    collective, _, members = among.partition(AMONG)
    return collective, int(members or devices), int(hosts or 1)


def share_of(kind: str, devices: int) -> float:
    """Returns for which share of the devices a communication is in flight.

    A collective is in flight for all its members, a point-to-point transfer for its receiver
    alone.

    Args:
        kind: Kind of communication, such as ``all_reduce@2``.
        devices: Number of devices of the case.
    """
    collective, members, _ = _members(kind, devices)
    return (1 if collective == "send_recv" else members) / devices


def model_columns(
    framework: str,
    engine: str,
    devices: int,
    payloads: Mapping[str, Sequence[int]],
    transfer_s: float | None,
    fits: Sequence[LinkFit],
) -> dict[str, Any]:
    """Computes ``alpha_s_per_byte`` and the columns that follow from it.

    As in T_comm, the model is a mean over devices: a collective counts for its members, a
    point-to-point transfer for its receiver alone.

    Args:
        framework: Framework of the row.
        engine: Engine of the row.
        devices: Number of devices of the case.
        payloads: Kind of communication, as ``communication.payloads`` names it, to payload bytes
            of each one in a step.
        transfer_s: The T_comm transfer that was measured, in seconds; None if it was not.
        fits: The fits of the run's sweep.

    Returns:
        Columns of the row; empty without a sweep.
    """
    if not fits or not payloads:
        return {}
    known = links_of(fits, framework, engine, devices, payloads)
    mine = [f for f in fits if (f.framework, f.engine) == (framework, engine)]
    reason = _unusable(known, payloads, mine, devices)
    if reason:
        return {"comm_verdict": reason}
    model = idle_seconds(known, payloads, devices, bytes_part)
    row: dict[str, Any] = {"t_comm_model_s": model, "alpha_s_per_byte": _alpha(known, payloads)}
    idle = idle_seconds(known, payloads, devices)
    if transfer_s is None or model is None or idle is None:
        return row
    row["contention"] = transfer_s / model
    row["comm_verdict"] = _range(known, payloads) or verdict(transfer_s, idle)
    return row


def _alpha(known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]]) -> float:
    """Returns the mean alpha of the links, weighted by the bytes of each kind."""
    moved = {kind: sum(sizes) for kind, sizes in payloads.items()}
    total = sum((known[kind].alpha_s_per_byte or 0.0) * size for kind, size in moved.items())
    return total / sum(moved.values())


def verdict(transfer_s: float, idle_s: float) -> str:
    """Says whether a step's transfer is normal, in words.

    It is compared with Hockney's form, because that holds for small messages too.

    Args:
        transfer_s: The T_comm transfer that was measured, in seconds.
        idle_s: What the idle link takes for the same communications, in seconds.
    """
    ratio = transfer_s / idle_s
    against = f"{ratio:.1f}x the idle link's {seconds(idle_s)} a step"
    if ratio > NORMAL_UP_TO:
        return f"slow: {against}; up to {NORMAL_UP_TO:g}x is usual inside a step"
    if ratio < NORMAL_FROM:
        return f"fast: {against}; calls were fused, or the link was busy while it was swept"
    return f"normal: {against}"


def _unusable(
    known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]], mine: Sequence[LinkFit],
    devices: int,
) -> str:
    """Returns why the links cannot model these communications, in words; empty if they can."""
    for kind in payloads:
        collective, members, hosts = _members(kind, devices)
        if kind not in known:
            failed = "; ".join(dict.fromkeys(f.reason for f in mine if f.status != "ok"))
            among = f"{members} devices" + (f" on {hosts} hosts" if hosts > 1 else "")
            return f"not modelled: no sweep of {collective} with {among}" + (
                f" ({failed})" if failed else ""
            )
        if _flat(known[kind]):
            return f"not modelled: the time of {collective} does not grow with its bytes here"
    return ""


def _flat(fit: LinkFit) -> bool:
    """Returns whether bytes cost nothing beyond noise.

    That is so if the interval of the slope contains zero, or if the line is nearly level.
    """
    slope = fit.alpha_s_per_byte if fit.alpha_ci_low is None else fit.alpha_ci_low
    return (slope or 0.0) <= 0 or fit.seconds(fit.bytes_max or 0) < FLAT_UP_TO * fit.seconds(0)


def _range(known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]]) -> str:
    """Says which payload lies outside the sizes that were swept; empty if none does."""
    for kind, sizes in payloads.items():
        low, high = known[kind].bytes_min or 0, known[kind].bytes_max or 0
        for size in (min(sizes), max(sizes)):
            if not low <= size <= high:
                swept = f"{size_bytes(low)} to {size_bytes(high)}"
                collective, *_ = _members(kind, 0)
                return f"out of range: B = {size_bytes(size)} of {collective}, swept {swept}"
    return ""
