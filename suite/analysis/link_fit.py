"""Fits alpha to a link sweep: Hockney's line, with one breakpoint where that predicts better.

A call takes ``max(end) - max(start)`` over its ranks, because a rank that comes late is no
transfer, and a sender that leaves early is no arrival. On the idle link a size takes as long as
its fastest call, because whatever disturbs a call only adds to it. In a sweep beside computing a
size takes as long as its median call, because what disturbs it is just what a step meets.

T(B) = a + alpha·B (Hockney 1994) is fitted by least squares of *relative* errors, since sizes span
seven orders of magnitude. Protocols change with size, so two lines, each on its side of a
breakpoint, are kept if their held-out error is clearly smaller. Then alpha is the slope of large
messages, and the latency a that of small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from suite.analysis.lines import FEWEST_SIZES, fit_lines, heldout_errors
from suite.analysis.link_calls import (
    Sample,
    call_seconds,
    hosts_of,
    load_of,
    loops_of,
    usual_over_fastest,
)
from suite.contract.sweep import COLLECTIVES

IDENTITY = ("framework", "engine", "collective", "backend", "transport", "devices")
SAMPLE_COLUMNS = [*IDENTITY, "bytes", "repetition", "rank", "start_s", "end_s", "call", "load_s",
                  "hosts", "event_loops"]
RESAMPLES, LEVEL = 1000, 95.0
# Two lines are kept if their held-out error is below this share of one line's.
BREAK_GAIN = 0.75


@dataclass(frozen=True)
class LinkFit:
    """A row of ``link_fit.csv``: what a collective takes on one link, in seconds and bytes.

    Errors are relative. A figure is None if it was not measured.

    Attributes:
        framework: Name of the adapter.
        engine: The engine that made the calls.
        collective: Kind of the calls.
        backend: What carried the data, such as ``gloo``.
        transport: Over what it was carried, such as ``tcp:lo``.
        devices: Number of devices that took part.
        alpha_s_per_byte: Seconds per payload byte of the call: the slope of large messages.
        alpha_ci_low: Lower end of alpha's 95 % bootstrap interval over repetitions.
        alpha_ci_high: Upper end of that interval.
        latency_s: Time of an empty message.
        heldout_error_mean: Mean error of each size as predicted from all other sizes.
        heldout_error_max: Largest such error.
        bytes_min: Smallest payload that was swept.
        bytes_max: Largest payload that was swept.
        half_bandwidth_bytes: Payload at which half the bandwidth is reached.
        algorithm_bandwidth_bytes_s: 1 / alpha.
        bus_bandwidth_bytes_s: Bytes per second on the wire, see ``bus_factor``.
        breakpoint_bytes: Payload at which the second line begins; None if one line is enough.
        alpha_below_s_per_byte: Slope of small messages, if there is a breakpoint.
        latency_above_s: Intercept of the large messages' line, if there is a breakpoint.
        repetitions: How often the sweep was repeated.
        status: ok, failed, timeout, oom or unsupported.
        reason: Why the status is not ok.
        load_s: How long each rank computed before each call; 0 on the idle link.
        hosts: On how many hosts the devices were.
        event_loops: How the transport's event loops were scheduled, see
            ``suite.contract.threads``; empty if it has none or an early release swept it.
        usual_over_fastest_s: How much longer than its fastest call the median call of a size
            takes: median over sizes. None beside computing.
    """

    framework: str
    engine: str
    collective: str
    backend: str
    transport: str
    devices: int
    alpha_s_per_byte: float | None = None
    alpha_ci_low: float | None = None
    alpha_ci_high: float | None = None
    latency_s: float | None = None
    heldout_error_mean: float | None = None
    heldout_error_max: float | None = None
    bytes_min: int | None = None
    bytes_max: int | None = None
    half_bandwidth_bytes: float | None = None
    algorithm_bandwidth_bytes_s: float | None = None
    bus_bandwidth_bytes_s: float | None = None
    breakpoint_bytes: float | None = None
    alpha_below_s_per_byte: float | None = None
    latency_above_s: float | None = None
    repetitions: int = 0
    status: str = "ok"
    reason: str = ""
    load_s: float = 0.0
    hosts: int = 1
    event_loops: str = ""
    usual_over_fastest_s: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing computed beside the calls."""
        return not self.load_s

    def seconds(self, payload_bytes: float) -> float:
        """Returns T(B) in seconds, from the line on which B lies.

        Raises:
            ValueError: The link has no fit.
        """
        if self.latency_s is None or self.alpha_s_per_byte is None:
            raise ValueError(f"no fit of {self.collective}: {self.reason}")
        if self.breakpoint_bytes is None:
            return self.latency_s + self.alpha_s_per_byte * payload_bytes
        if payload_bytes < self.breakpoint_bytes:
            return self.latency_s + (self.alpha_below_s_per_byte or 0.0) * payload_bytes
        return (self.latency_above_s or 0.0) + self.alpha_s_per_byte * payload_bytes


FIT_COLUMNS = [field.name for field in fields(LinkFit)]


def fit_links(samples: Iterable[Sample]) -> list[LinkFit]:
    """Fits every link in the samples: each engine, collective, transport, load and event loops.

    Args:
        samples: Rows of ``link.csv``.
    """
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in samples:
        key = (*(sample[name] for name in IDENTITY), load_of(sample), hosts_of(sample),
               loops_of(sample))
        groups.setdefault(key, []).append(sample)
    ordered = sorted(groups.values(), key=lambda group: COLLECTIVES.index(group[0]["collective"]))
    return [fit_link(group) for group in ordered]


def fit_link(samples: Sequence[Sample]) -> LinkFit:
    """Fits the samples of one link; the fit has failed if there are too few sizes.

    Args:
        samples: Rows of ``link.csv`` that differ in call and rank alone.
    """
    identity = {name: samples[0][name] for name in IDENTITY} | {
        "hosts": hosts_of(samples[0]), "event_loops": loops_of(samples[0]),
    }
    sizes, seconds = call_seconds(samples)
    if len(sizes) <= FEWEST_SIZES:
        reason = f"{len(sizes)} sizes are too few to fit and check a line: widen the range"
        return LinkFit(**identity, status="failed", reason=reason)
    load_s = load_of(samples[0])
    typical = np.median if load_s else np.min
    fastest = typical(seconds, axis=0)
    pieces, error = _choose(sizes, fastest)
    lines = fit_lines(sizes, fastest[None], pieces)
    alpha = float(lines.slopes[0, -1])
    low, high = _interval(sizes, seconds, pieces, alpha, typical)
    latency = float(lines.intercepts[0, 0])
    return LinkFit(
        **identity,
        alpha_s_per_byte=alpha, alpha_ci_low=low, alpha_ci_high=high,
        latency_s=latency,
        heldout_error_mean=float(error.mean()), heldout_error_max=float(error.max()),
        bytes_min=int(sizes[0]), bytes_max=int(sizes[-1]),
        repetitions=len(seconds), load_s=load_s,
        usual_over_fastest_s=usual_over_fastest(samples),
        breakpoint_bytes=float(lines.breaks[0]) if pieces == 2 else None,
        alpha_below_s_per_byte=float(lines.slopes[0, 0]) if pieces == 2 else None,
        latency_above_s=float(lines.intercepts[0, 1]) if pieces == 2 else None,
        **_bandwidths(identity["collective"], identity["devices"], alpha, latency),
    )


def _bandwidths(collective: str, devices: int, alpha: float, latency: float) -> dict[str, Any]:
    """Computes n1/2 = a/alpha (Hockney), 1/alpha, and the bandwidth on the wire (nccl-tests)."""
    if alpha <= 0:
        return {}
    return {
        "half_bandwidth_bytes": latency / alpha if latency > 0 else None,
        "algorithm_bandwidth_bytes_s": 1.0 / alpha,
        "bus_bandwidth_bytes_s": bus_factor(collective, devices) / alpha,
    }


def bus_factor(collective: str, devices: int) -> float:
    """Returns bus over algorithm bandwidth, as nccl-tests' PERFORMANCE.md derives it.

    There, as here, the size of an all-gather or reduce-scatter is that of the whole tensor.

    Args:
        collective: Kind of the calls.
        devices: Number of ranks.
    """
    share = (devices - 1) / devices
    return {"all_reduce": 2 * share, "all_gather": share, "reduce_scatter": share}.get(
        collective, 1.0
    )


def _choose(sizes: np.ndarray, fastest: np.ndarray) -> tuple[int, np.ndarray]:
    """Decides between one line and two, and returns the number of lines and their held-out errors.

    A breakpoint must make the median held-out error clearly smaller. The median is taken because a
    size next to a jump cannot be predicted from the others; the mean of the errors refuses a
    planted jump in half of the cases. Of planted straight lines 5 % pass the gate.
    """
    line = heldout_errors(sizes, fastest, 1)
    if len(sizes) <= 2 * FEWEST_SIZES:
        return 1, line
    lines = heldout_errors(sizes, fastest, 2)
    return (2, lines) if np.median(lines) < BREAK_GAIN * np.median(line) else (1, line)


def _interval(
    sizes: np.ndarray, seconds: np.ndarray, pieces: int, alpha: float,
    typical: Callable[..., np.ndarray] = np.min,
) -> tuple[float, float]:
    """Returns the 95 % interval of alpha by a bootstrap over repetitions.

    The breakpoint is fitted anew to each resample. It is a basic bootstrap (Davison & Hinkley
    1997, section 5.2) and not a percentile one: the minima of resamples lie above the minimum of
    the sample, as that lies above the undisturbed time, so the interval must open downwards. It
    uses logarithms, so that disturbed resamples cannot push the interval of a positive alpha below
    zero.
    """
    generator = np.random.default_rng(0)
    count = len(seconds)
    fastest = np.stack(
        [typical(seconds[generator.integers(0, count, count)], axis=0) for _ in range(RESAMPLES)]
    )
    slopes = fit_lines(sizes, fastest, pieces).slopes[:, -1]
    tail = (100.0 - LEVEL) / 2
    low, high = np.percentile(slopes, [tail, 100.0 - tail])
    if low > 0:
        return alpha**2 / float(high), alpha**2 / float(low)
    return 2 * alpha - float(high), 2 * alpha - float(low)
