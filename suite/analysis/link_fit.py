"""The link sweep to alpha: Hockney's line, with one breakpoint where that predicts better.

The figure of a call is ``max(end) - max(start)`` over its ranks: a rank that comes late is no
transfer, and a sender that leaves early is no arrival. The figure of a size is its fastest call:
what disturbs a call only adds to it, and the idle link is asked for. Of a sweep beside computing it
is the median call, since what disturbs it is what a step meets. T(B) = a + alpha·B (Hockney
1994) is fitted to them by least squares of *relative* errors, since sizes span seven orders of
magnitude. Protocols change with size: two lines, each on its side of a breakpoint, are kept where
their held-out error is clearly smaller. alpha is the slope of large messages, the latency a that
of small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from suite.contract.sweep import COLLECTIVES

Sample = dict[str, Any]
IDENTITY = ("framework", "engine", "collective", "backend", "transport", "devices")
SAMPLE_COLUMNS = [*IDENTITY, "bytes", "repetition", "rank", "start_s", "end_s", "call", "load_s",
                  "hosts"]
RESAMPLES, LEVEL = 1000, 95.0
FEWEST_SIZES = 3  # of a line
BREAK_GAIN = 0.75
CLOCK_RESOLUTION_S = 1e-7  # a call inside one process may begin and end at the same reading


@dataclass(frozen=True)
class LinkFit:
    """A row of ``link_fit.csv``; seconds and bytes, errors relative, None where not measured.

    ``alpha`` is per payload byte of the call and the slope of large messages, with a 95 % bootstrap
    interval over repetitions; ``latency_s`` is the time of an empty message. ``breakpoint_bytes``
    is None where one line does; the fields after it are the small messages' slope and the large
    messages' intercept. ``heldout_error_*``: each size predicted from all the others.
    ``status`` is ok, failed, timeout, oom or unsupported, with the reason. ``load_s`` is how long
    each rank computed before each call, ``hosts`` on how many hosts the devices were.
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

    @property
    def idle(self) -> bool:
        """Whether nothing computed beside the calls."""
        return not self.load_s

    def seconds(self, payload_bytes: float) -> float:
        """T(B) on the line that B lies on."""
        if self.latency_s is None or self.alpha_s_per_byte is None:
            raise ValueError(f"no fit of {self.collective}: {self.reason}")
        if self.breakpoint_bytes is None:
            return self.latency_s + self.alpha_s_per_byte * payload_bytes
        if payload_bytes < self.breakpoint_bytes:
            return self.latency_s + (self.alpha_below_s_per_byte or 0.0) * payload_bytes
        return (self.latency_above_s or 0.0) + self.alpha_s_per_byte * payload_bytes


FIT_COLUMNS = [field.name for field in fields(LinkFit)]


def fit_links(samples: Iterable[Sample]) -> list[LinkFit]:
    """One fit per framework, engine, collective, backend, transport and devices."""
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in samples:
        key = *(sample[name] for name in IDENTITY), load_of(sample), hosts_of(sample)
        groups.setdefault(key, []).append(sample)
    ordered = sorted(groups.values(), key=lambda group: COLLECTIVES.index(group[0]["collective"]))
    return [fit_link(group) for group in ordered]


def fit_link(samples: Sequence[Sample]) -> LinkFit:
    """The fit of one link's samples; a failed one where there are too few sizes."""
    identity = {name: samples[0][name] for name in IDENTITY} | {"hosts": hosts_of(samples[0])}
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
        breakpoint_bytes=float(lines.breaks[0]) if pieces == 2 else None,
        alpha_below_s_per_byte=float(lines.slopes[0, 0]) if pieces == 2 else None,
        latency_above_s=float(lines.intercepts[0, 1]) if pieces == 2 else None,
        **_bandwidths(identity["collective"], identity["devices"], alpha, latency),
    )


def _bandwidths(collective: str, devices: int, alpha: float, latency: float) -> dict[str, Any]:
    """n1/2 = a/alpha (Hockney), 1/alpha, and the latter times nccl-tests' factor of the wire."""
    if alpha <= 0:
        return {}
    return {
        "half_bandwidth_bytes": latency / alpha if latency > 0 else None,
        "algorithm_bandwidth_bytes_s": 1.0 / alpha,
        "bus_bandwidth_bytes_s": bus_factor(collective, devices) / alpha,
    }


def bus_factor(collective: str, devices: int) -> float:
    """Bus over algorithm bandwidth as nccl-tests' PERFORMANCE.md derives it for ``devices`` ranks.

    The size of an all-gather or reduce-scatter is that of the whole tensor there, as it is here.
    """
    share = (devices - 1) / devices
    return {"all_reduce": 2 * share, "all_gather": share, "reduce_scatter": share}.get(
        collective, 1.0
    )


def hosts_of(sample: Sample) -> int:
    """On how many hosts the devices were; 1 in files of older releases."""
    return int(sample.get("hosts") or 1)


def load_of(sample: Sample) -> float:
    """Seconds that a rank computed before the call; early releases had idle links only."""
    return float(sample.get("load_s") or 0.0)


def call_seconds(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Payload bytes (sizes,) and transfer seconds (repetitions, sizes) of one link's samples.

    Of several calls of a size in one repetition the fastest counts; beside computing, where what
    disturbs a call is what a step meets, the median one.
    """
    calls: dict[tuple[int, int, int], tuple[float, float]] = {}
    for one in samples:
        key = one["repetition"], one["bytes"], one.get("call", 0)
        start, end = calls.get(key, (-np.inf, -np.inf))
        calls[key] = max(start, one["start_s"]), max(end, one["end_s"])
    lengths: dict[tuple[int, int], list[float]] = {}
    for (repetition, size, _), (start, end) in calls.items():
        lengths.setdefault((repetition, size), []).append(end - start)
    typical = np.median if load_of(samples[0]) else min
    repetitions = sorted({repetition for repetition, _ in lengths})
    sizes = sorted({size for _, size in lengths})
    seconds = [[typical(lengths[repetition, size]) for size in sizes]
               for repetition in repetitions]
    return np.asarray(sizes, float), np.maximum(seconds, CLOCK_RESOLUTION_S)


@dataclass(frozen=True)
class Lines:
    """Fits of several rows at once: (rows, pieces) intercepts, slopes; (rows,) breakpoints."""

    intercepts: np.ndarray
    slopes: np.ndarray
    breaks: np.ndarray

    def at(self, size: float) -> np.ndarray:
        """(rows,) seconds of a payload."""
        piece = np.where(size < self.breaks, 0, self.slopes.shape[1] - 1)
        rows = np.arange(len(self.slopes))
        return self.intercepts[rows, piece] + self.slopes[rows, piece] * size


def fit_lines(sizes: np.ndarray, seconds: np.ndarray, pieces: int) -> Lines:
    """Least squares of relative errors, rows of ``seconds`` (rows, sizes) apart.

    Of two pieces the breakpoint is tried between any two sizes that leave three on each side, at
    their geometric mean; the one with the least error stays.
    """
    whole = _moments(sizes, seconds)[:, -1]
    if pieces == 1:
        intercept, slope, _ = _solve(whole)
        return Lines(intercept[:, None], slope[:, None], np.full(len(seconds), -np.inf))
    heads = _moments(sizes, seconds)[:, FEWEST_SIZES - 1 : -FEWEST_SIZES]
    # Summed from the far end and not as a difference from the whole, which would cancel.
    tails = _moments(sizes[::-1], seconds[:, ::-1])[:, ::-1][:, FEWEST_SIZES : -FEWEST_SIZES + 1]
    below, above = _solve(heads), _solve(tails)
    best = np.argmin(below[2] + above[2], axis=1)
    rows = np.arange(len(seconds))
    cut = best + FEWEST_SIZES
    return Lines(
        np.stack([below[0][rows, best], above[0][rows, best]], axis=1),
        np.stack([below[1][rows, best], above[1][rows, best]], axis=1),
        np.sqrt(sizes[cut - 1] * sizes[cut]),
    )


def _moments(sizes: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """(rows, sizes, 6) running sums of w, wx, wxx, wy, wxy and wyy, with w = 1/y²."""
    w, x = seconds**-2.0, np.broadcast_to(sizes, seconds.shape)
    terms = [w, w * x, w * x * x, 1.0 / seconds, x / seconds, np.ones_like(w)]
    return np.cumsum(np.stack(terms, axis=-1), axis=1)


def _solve(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intercept, slope and squared error of the lines with these sums."""
    w, wx, wxx, wy, wxy, wyy = np.moveaxis(moments, -1, 0)
    slope = (w * wxy - wx * wy) / (w * wxx - wx * wx)
    intercept = (wy - slope * wx) / w
    return intercept, slope, np.maximum(wyy - intercept * wy - slope * wxy, 0.0)


def heldout_errors(sizes: np.ndarray, fastest: np.ndarray, pieces: int) -> np.ndarray:
    """(sizes,) relative error of each size as predicted by a fit of all the others."""
    errors = []
    for left_out, (size, actual) in enumerate(zip(sizes, fastest, strict=True)):
        others = np.arange(len(sizes)) != left_out
        lines = fit_lines(sizes[others], fastest[None, others], pieces)
        errors.append(abs(lines.at(size)[0] - actual) / actual)
    return np.asarray(errors)


def _choose(sizes: np.ndarray, fastest: np.ndarray) -> tuple[int, np.ndarray]:
    """Pieces and their held-out errors: a breakpoint must make the median one clearly smaller.

    The median, since a size next to a jump cannot be told from the others; the mean of such errors
    refuses a planted jump in half of the cases. Of planted straight lines 5 % pass the gate.
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
    """95 % basic bootstrap of alpha over repetitions, the breakpoint found anew in each.

    Basic (Davison & Hinkley 1997, section 5.2) and not percentile: resampled minima lie above the
    minimum, as that lies above the undisturbed time, so the interval must open downwards; of
    logarithms, so that disturbed resamples cannot push a positive alpha's below zero.
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
