"""Shares of a batch that follow what the devices show: a filter of their speeds, and a rule.

Devices of a data-parallel step finish together when each has samples in proportion to its speed.
Speeds change while a training goes on (another process takes a core, a quota is reached, a clock is
throttled), so they are estimated from the busy seconds of each step. All ranks give a balancer the
same figures and so take the same decisions; nothing but the figures is exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from suite.contract.splits.shares import proportional_shares
from suite.contract.workloads.workload import Workload

# A new plan has to be this much faster, so that noise moves nothing and a graph that has to be
# traced anew for other shapes pays for itself.
LEAST_GAIN = 0.04
# Steps in a row that have to ask for a new plan, and steps between two plans: what a step tells of
# the plan before it is not held against the new one.
CONFIRMED, REST = 2, 3
# FIRST_NOISE is the deviation that is assumed of a device's seconds a sample, as a share, and
# LEAST_NOISE the smallest that is believed. WANDER is how far a speed wanders from one step to the
# next. A value that is OUTSIDE deviations away is an outlier, and JUMP outliers in a row on the
# same side are a jump.
FIRST_NOISE, LEAST_NOISE, WANDER, OUTSIDE, JUMP = 0.1, 0.01, 0.003, 3.0, 3
# Part that a new step has in the estimate of the noise.
NOISE_WEIGHT = 0.05
# Plans are made of about so many pieces of an even share.
PIECES = 32
# So many steps tell their busy seconds at once. A jump shows in three steps and a plan is asked for
# twice, so a change is followed within ten steps, and three of four steps exchange nothing.
WINDOW = 4


def share_quantum(total: int, devices: int, accumulate: int = 1) -> int:
    """Chooses how many samples plans move at a time.

    Every new share is a new shape, which frameworks allocate and TensorFlow traces anew, so shares
    are multiples of about a thirty-second of an even one.

    Args:
        total: Samples of the global batch.
        devices: Number of replicas.
        accumulate: Micro-batches of a step, whose sizes must be equal.

    Returns:
        The largest divisor of an even share that is at most a thirty-second of it and keeps
        micro-batches equal; where there is none that small, the smallest.
    """
    even = total // devices
    allowed = [size for size in range(accumulate, even + 1, accumulate) if even % size == 0]
    return max((size for size in allowed if size <= even / PIECES), default=min(allowed))


@dataclass
class SpeedFilter:
    """A Kalman filter of the logarithm of one device's seconds a sample.

    The logarithm wanders (variance ``WANDER²`` a step) and is seen through noise, whose variance is
    estimated beside it. A value outside ``OUTSIDE`` deviations is held back; when ``JUMP`` of them
    in a row lie on the same side, the device has changed, and the filter begins anew from these
    (Bar-Shalom, Li & Kirubarajan 2001, sections 5.2 and 11.2).

    Attributes:
        level: Estimated logarithm of seconds a sample.
        variance: The variance of that estimate.
        noise: Estimated variance of a single step's logarithm.
    """

    level: float
    variance: float = FIRST_NOISE**2
    noise: float = FIRST_NOISE**2
    held: list[float] = field(default_factory=list)  # how far the last steps were outside

    def update(self, seen: float) -> None:
        """Takes in the logarithm of seconds a sample in one step."""
        predicted = self.variance + WANDER**2
        surprise = seen - self.level
        if surprise**2 > OUTSIDE**2 * (predicted + self.noise):
            self._outside(surprise)
            return
        self.held = []
        gain = predicted / (predicted + self.noise)
        self.level += gain * surprise
        self.variance = (1 - gain) * predicted
        # The noise is the part of a surprise that the estimate's own variance does not explain.
        seen_noise = max(surprise**2 - predicted, 0.0)
        self.noise = max((1 - NOISE_WEIGHT) * self.noise + NOISE_WEIGHT * seen_noise,
                         LEAST_NOISE**2)

    def _outside(self, surprise: float) -> None:
        if self.held and self.held[0] * surprise < 0:
            self.held = []
        self.held.append(surprise)
        if len(self.held) == JUMP:
            # One of the values may be an outlier, so the median is taken.
            self.level += median(self.held)
            self.variance, self.held = self.noise / JUMP, []


class Balancer:
    """Plans shares step by step.

    Args:
        shares: Samples of each device now.
        quantum: Samples that a plan moves at a time (``share_quantum``).
    """

    def __init__(self, shares: Sequence[int], quantum: int) -> None:
        self.shares, self.quantum = tuple(shares), quantum
        self._filters: list[SpeedFilter] = []
        self._asked = self._rested = 0
        self._tried: tuple[int, ...] = ()

    def observe(self, shares: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]:
        """Takes in a step and returns the shares to train on from now on.

        The first step on other shares tells nothing: it allocates, and may trace a graph.

        Args:
            shares: Samples that each device had in the step.
            busy: Seconds that each device was busy with them, all above 0.

        Returns:
            The shares, in force until another call returns other ones.
        """
        if tuple(shares) != self._tried:
            self._tried = tuple(shares)
            return self.shares
        seen = [math.log(seconds / samples) for seconds, samples in zip(busy, shares, strict=True)]
        if not self._filters:
            self._filters = [SpeedFilter(level) for level in seen]
        else:
            for one, level in zip(self._filters, seen, strict=True):
                one.update(level)
        self._rested += 1
        plan = self._plan()
        self._asked = self._asked + 1 if self._gain(plan) > self._needed() else 0
        if self._asked >= CONFIRMED and self._rested > REST:
            self.shares, self._asked, self._rested = plan, 0, 0
        return self.shares

    @property
    def seconds_a_sample(self) -> list[float]:
        """The estimated seconds a sample of each device."""
        return [math.exp(one.level) for one in self._filters]

    def _plan(self) -> tuple[int, ...]:
        """Plans the shares by the speeds that are estimated now.

        Every device keeps at least one piece, because one without samples tells nothing any more.
        """
        pieces = sum(self.shares) // self.quantum
        speeds = [1 / seconds for seconds in self.seconds_a_sample]
        spare = proportional_shares(pieces, speeds)
        while 0 in spare:
            spare[spare.index(max(spare))] -= 1
            spare[spare.index(0)] += 1
        return tuple(self.quantum * count for count in spare)

    def _gain(self, plan: Sequence[int]) -> float:
        """Returns by what share the slowest device is sooner done with ``plan`` than now."""
        return 1 - self._slowest(plan) / self._slowest(self.shares)

    def _slowest(self, shares: Sequence[int]) -> float:
        return max(n * each for n, each in zip(shares, self.seconds_a_sample, strict=True))

    def _needed(self) -> float:
        """Returns by what share a plan has to be faster.

        It is at least two deviations of what is known of the two devices that are known least.
        """
        unsure = sorted((one.variance for one in self._filters), reverse=True)
        return max(LEAST_GAIN, 2 * math.sqrt(sum(unsure[:2])))


def unbalanceable(workload: Workload, strategy: str, variant: str, device: str, mode: str) -> str:
    """Says why the shares or the cut of a case cannot change while it trains.

    Args:
        workload: The workload to train.
        strategy: Strategy name.
        variant: Its variant.
        device: ``cpu`` or ``cuda``.
        mode: ``eager`` or ``compiled``.

    Returns:
        The reason, or an empty text.
    """
    if strategy not in ("data", "inter_layer"):
        return ("--balance dynamic moves samples between replicas or layers between stages, and "
                f"{strategy} has shards of one size, or more than one way to balance")
    if strategy == "data" and workload.batch_statistics:
        return "batch normalisation over unequal shares is not the reference's over equal ones"
    if variant == "interleaved":
        return ("a device of an interleaved pipeline has several stages, whose busy seconds "
                "--balance dynamic does not tell apart")
    if device != "cpu":
        return "--balance dynamic reads busy seconds from CPU clocks, which a GPU's work is not on"
    if mode == "compiled":
        return "--balance dynamic changes shapes, and each would be compiled anew for many seconds"
    return ""
