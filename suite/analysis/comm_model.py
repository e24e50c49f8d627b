"""T_comm as the idle link predicts it, and whether what a step took of it is normal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.analysis.communication import AMONG
from suite.analysis.link_fit import LinkFit
from suite.contract.formats import seconds, size_bytes
from suite.contract.registry import traits_of

# Inside a step transfer was 2.1 to 2.5 times the sweep's (two CPU cores, gloo): its threads
# compete with compute.
NORMAL_UP_TO = 3.0
# Below this the calls were not those of the sweep: fused, or the link was busy when it was swept.
NORMAL_FROM = 0.67
# Where the largest message takes hardly longer than an empty one, alpha is noise: a copy between
# devices of one process may hand the tensor over as it is.
FLAT_UP_TO = 1.5


@dataclass(frozen=True)
class StepPrediction:
    """Seconds of N communications of B bytes: alpha·B·N, and Hockney's N·(a + alpha·B)."""

    alpha_form_s: float
    hockney_s: float


def fits_by_kind(
    fits: Iterable[LinkFit], framework: str, engine: str, devices: int
) -> dict[str, LinkFit]:
    """The fits that apply to a row, by the kind of communication its trace names.

    A hop is between two devices of however many; an adapter may make it of another collective.
    """
    mine = [f for f in fits
            if f.idle and (f.framework, f.engine, f.status) == (framework, engine, "ok")]
    found = {f.collective: f for f in mine if f.devices == devices}
    hop = traits_of(framework).hop
    for fit in mine:
        if (fit.collective, fit.devices) == (hop, 2):
            found["send_recv"] = fit
    return found


def links_of(
    fits: Iterable[LinkFit], framework: str, engine: str, devices: int, kinds: Iterable[str]
) -> dict[str, LinkFit]:
    """The fit of each kind of payloads: of as many devices as take part."""
    mine, found = list(fits), {}
    for kind in kinds:
        collective, members = _members(kind, devices)
        fit = fits_by_kind(mine, framework, engine, members).get(collective)
        if fit:
            found[kind] = fit
    return found


def usable_links(
    fits: Sequence[LinkFit], framework: str, engine: str, devices: int,
    payloads: Mapping[str, Sequence[int]],
) -> dict[str, LinkFit]:
    """The links that a step's communications can be held against; {} unless there are all of them.
    """
    known = links_of(fits, framework, engine, devices, payloads)
    return {} if _unusable(known, payloads, [], devices) else known


def idle_seconds(
    links: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]], devices: int
) -> float | None:
    """Hockney's N·(a + alpha·B) of a step on the idle link, mean over devices.

    None where a kind was not swept.
    """
    if not payloads or not set(payloads) <= set(links):
        return None
    return sum(
        share_of(kind, devices) * links[kind].seconds(size)
        for kind, sizes in payloads.items() for size in sizes
    )


def _members(kind: str, devices: int) -> tuple[str, int]:
    """``all_reduce@2`` -> all_reduce among 2; without a number among all devices."""
    collective, _, members = kind.partition(AMONG)
    return collective, int(members or devices)


def share_of(kind: str, devices: int) -> float:
    """Share of the devices that a communication is in flight for: a hop's receiver alone."""
    collective, members = _members(kind, devices)
    return (1 if collective == "send_recv" else members) / devices


def predict(fits: Mapping[str, LinkFit], kind: str, payload_bytes: float) -> float:
    """Seconds of one communication on the idle link; ``KeyError`` where the kind was not swept."""
    return fits[kind].seconds(payload_bytes)


def predict_step(
    fits: Mapping[str, LinkFit], kind: str, bytes_per_call: float, count: float
) -> StepPrediction:
    """T_comm of a step with ``count`` communications of one size."""
    alpha = fits[kind].alpha_s_per_byte or 0.0
    return StepPrediction(
        alpha * bytes_per_call * count, count * predict(fits, kind, bytes_per_call)
    )


def model_columns(
    framework: str,
    engine: str,
    devices: int,
    payloads: Mapping[str, Sequence[int]],
    transfer_s: float | None,
    fits: Sequence[LinkFit],
) -> dict[str, Any]:
    """``alpha_s_per_byte`` and what follows from it for a row; {} without a sweep.

    ``payloads[kind]`` are the bytes of each of a step's communications, with the names that
    ``communication.payloads`` gives. As in T_comm, a mean over devices: a collective is its
    members', a hop its receiver's alone.
    """
    if not fits or not payloads:
        return {}
    known = links_of(fits, framework, engine, devices, payloads)
    mine = [f for f in fits if (f.framework, f.engine) == (framework, engine)]
    reason = _unusable(known, payloads, mine, devices)
    if reason:
        return {"comm_verdict": reason}
    total = [
        predict_step(known, kind, size, share_of(kind, devices))
        for kind, sizes in payloads.items() for size in sizes
    ]
    model = sum(one.alpha_form_s for one in total)
    row: dict[str, Any] = {"t_comm_model_s": model, "alpha_s_per_byte": _alpha(known, payloads)}
    if transfer_s is None:
        return row
    row["contention"] = transfer_s / model
    row["comm_verdict"] = _range(known, payloads) or verdict(
        transfer_s, sum(one.hockney_s for one in total)
    )
    return row


def _alpha(known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]]) -> float:
    """The links' alpha, weighted by the bytes of each kind."""
    moved = {kind: sum(sizes) for kind, sizes in payloads.items()}
    total = sum((known[kind].alpha_s_per_byte or 0.0) * size for kind, size in moved.items())
    return total / sum(moved.values())


def verdict(transfer_s: float, idle_s: float) -> str:
    """Against Hockney's form, which holds for small messages too."""
    ratio = transfer_s / idle_s
    against = f"{ratio:.1f}x the idle link's {seconds(idle_s)} a step"
    if ratio > NORMAL_UP_TO:
        return f"slow: {against}; up to {NORMAL_UP_TO:g}x is usual inside a step"
    if ratio < NORMAL_FROM:
        return f"fast: {against}; calls were fused, or the link was busy when it was swept"
    return f"normal: {against}"


def _unusable(
    known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]], mine: Sequence[LinkFit],
    devices: int,
) -> str:
    for kind in payloads:
        collective, members = _members(kind, devices)
        if kind not in known:
            failed = "; ".join(dict.fromkeys(f.reason for f in mine if f.status != "ok"))
            return f"not modelled: no sweep of {collective} with {members} devices" + (
                f" ({failed})" if failed else ""
            )
        if _flat(known[kind]):
            return f"not modelled: the time of {collective} does not grow with its bytes here"
    return ""


def _flat(fit: LinkFit) -> bool:
    """Bytes cost nothing beyond noise: the slope's interval holds zero, or the line is level."""
    slope = fit.alpha_s_per_byte if fit.alpha_ci_low is None else fit.alpha_ci_low
    return (slope or 0.0) <= 0 or fit.seconds(fit.bytes_max or 0) < FLAT_UP_TO * fit.seconds(0)


def _range(known: Mapping[str, LinkFit], payloads: Mapping[str, Sequence[int]]) -> str:
    """Empty where every payload lies in the range of its sweep."""
    for kind, sizes in payloads.items():
        low, high = known[kind].bytes_min or 0, known[kind].bytes_max or 0
        for size in (min(sizes), max(sizes)):
            if not low <= size <= high:
                swept = f"{size_bytes(low)} to {size_bytes(high)}"
                collective = kind.partition(AMONG)[0]
                return f"out of range: B = {size_bytes(size)} of {collective}, swept {swept}"
    return ""
