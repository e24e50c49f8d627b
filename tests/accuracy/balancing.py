"""Shares that follow busy times, in simulation: two learners, planted faults, and none.

    python -m tests.accuracy balancing [RUNS]

Devices take ``samples * seconds_a_sample`` plus a fixed overhead, times noise of every step and
device, and tell four steps at a time; some steps take three times as long. In step 60 of 160 device
1 becomes half as fast. ``late`` is how many steps after the fault L, of what devices are expected
to take, stays at or below 1.1; ``excess`` is the whole run's time over that of the best shares in
every step, ``moves`` the changes of shares without the fault, ``wasted`` what these cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from suite.contract.splits.balancing import WINDOW, Balancer, share_quantum
from suite.contract.splits.shares import proportional_shares

STEPS, FAULT_AT, SLOWER = 160, 60, 2.0
SAMPLE_S, OVERHEAD_S, SPIKE = 1e-3, 4e-3, 3.0


class Learner(Protocol):
    """What plans shares from busy seconds."""

    def observe(self, shares: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]: ...


@dataclass
class MovingAverage:
    """Exponentially weighted moving averages of seconds a sample, with hysteresis.

    The base line: a plan is taken when three steps in a row promise 5 %.
    """

    shares: tuple[int, ...]
    quantum: int
    weight: float = 0.3
    levels: list[float] = field(default_factory=list)
    asked: int = 0

    def observe(self, shares: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]:
        seen = [seconds / samples for seconds, samples in zip(busy, shares, strict=True)]
        before = self.levels or seen
        self.levels = [old + self.weight * (new - old)
                       for old, new in zip(before, seen, strict=True)]
        pieces = proportional_shares(sum(shares) // self.quantum, [1 / x for x in self.levels])
        plan = tuple(self.quantum * max(1, count) for count in pieces)
        now, then = (max(n * x for n, x in zip(one, self.levels, strict=True))
                     for one in (self.shares, plan))
        self.asked = self.asked + 1 if then < 0.95 * now and sum(plan) == sum(shares) else 0
        if self.asked >= 3:
            self.shares, self.asked = plan, 0
        return self.shares


LEARNERS: dict[str, Callable[[tuple[int, ...], int], Learner]] = {
    "moving average": MovingAverage, "Kalman filter": Balancer,
}


@dataclass(frozen=True)
class Course:
    """Of one simulated run: expected L and seconds of each step, and how often shares changed."""

    imbalance: np.ndarray
    seconds: np.ndarray
    ideal_s: np.ndarray
    moves: int

    def late(self) -> int:
        """Steps from the fault until L is at most 1.1 for good."""
        wrong = np.flatnonzero(self.imbalance[FAULT_AT:] > 1.1)
        return int(wrong[-1]) + 1 if len(wrong) else 0


def simulate(
    make: Callable[[tuple[int, ...], int], Learner], noise: float, spikes: float, fault: bool,
    seed: int, devices: int = 2, batch: int = 128,
) -> Course:
    """Runs a learner over planted devices; ``noise`` is a step's deviation, ``spikes`` a share."""
    generator = np.random.default_rng(seed)
    quantum = share_quantum(batch, devices)
    shares = (batch // devices,) * devices
    learner = make(shares, quantum)
    told: list[tuple[tuple[int, ...], list[float]]] = []
    imbalance, seconds, ideal, moves = [], [], [], 0
    for step in range(STEPS):
        each = np.full(devices, SAMPLE_S)
        each[1] *= SLOWER if fault and step >= FAULT_AT else 1.0
        expected = OVERHEAD_S + each * np.array(shares)
        factor = np.exp(generator.normal(0, noise, devices))
        factor *= np.where(generator.random(devices) < spikes, SPIKE, 1.0)
        best = np.array(proportional_shares(batch, list(1 / each)))
        ideal.append(float((OVERHEAD_S + each * best).max()))
        imbalance.append(float(expected.max() / expected.mean()))
        seconds.append(float(expected.max()))
        told.append((shares, list(expected * factor)))
        if len(told) == WINDOW:
            new = [learner.observe(*one) for one in told][-1]
            moves, shares, told = moves + (new != shares), new, []
    return Course(np.array(imbalance), np.array(seconds), np.array(ideal), moves)


SETTINGS = [(0.01, 0.0), (0.03, 0.0), (0.1, 0.0), (0.03, 0.05), (0.1, 0.05)]


def report(runs: int = 200) -> None:
    """Prints the table."""
    print(f"{'learner':15} {'noise':>6} {'spikes':>7} {'late':>5} {'worst':>6} {'excess':>7} "
          f"{'moves':>6} {'wasted':>7}")
    for noise, spikes in SETTINGS:
        for name, make in LEARNERS.items():
            faulty = [simulate(make, noise, spikes, True, seed) for seed in range(runs)]
            sound = [simulate(make, noise, spikes, False, seed) for seed in range(runs)]
            late = [one.late() for one in faulty]
            print(f"{name:15} {noise:6.0%} {spikes:7.0%} {np.median(late):5.0f} {max(late):6d} "
                  f"{_excess(faulty):7.1%} {np.mean([one.moves for one in sound]):6.2f} "
                  f"{_excess(sound):7.2%}")


def _excess(courses: Sequence[Course]) -> float:
    return math.fsum(one.seconds.sum() for one in courses) / math.fsum(
        one.ideal_s.sum() for one in courses) - 1
