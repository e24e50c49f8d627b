"""Stage cuts that follow busy times, in simulation: two learners, planted faults, and none.

    python -m tests.accuracy cutting [RUNS]

Stages take the sum of their units' costs, times noise of every step and stage; some steps take
three times as long. Units are equal in what is known of them, and their true costs deviate by
``costs``. In step 60 of 160 device 1 becomes half as fast. ``late`` is how many steps after the
fault the slowest stage stays within 5 % of the best cut's, ``excess`` is the whole run's time over
that of the best cut in every step, ``moves`` the changes of cuts without the fault, ``wasted`` what
time such a run takes over the best cut's. Where costs deviate, the first cut is not the best one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from suite.contract.splits.balancing import WINDOW
from suite.contract.splits.cut_balancing import CutBalancer
from suite.contract.splits.stages import balanced_cuts

STEPS, FAULT_AT, SLOWER, SPIKE, UNIT_S = 160, 60, 2.0, 3.0, 1e-3
WITHIN = 1.05


class Learner(Protocol):
    """What plans cuts from busy seconds."""

    def observe(self, cut: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]: ...


@dataclass
class MovingAverage:
    """Moving averages of devices' paces, by what is known of units beforehand, with hysteresis.

    The base line: a cut is taken when three steps in a row promise 5 %.
    """

    cut: tuple[int, ...]
    costs: list[float]
    weight: float = 0.3
    paces: list[float] = field(default_factory=list)
    asked: int = 0

    def observe(self, cut: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]:
        seen = [seconds / cost for seconds, cost in
                zip(busy, _by_stage(self.costs, cut), strict=True)]
        before = self.paces or seen
        self.paces = [old + self.weight * (new - old)
                      for old, new in zip(before, seen, strict=True)]
        plan = tuple(balanced_cuts(self.costs, len(cut), [1 / pace for pace in self.paces]))
        now, then = (max(pace * cost for pace, cost in
                         zip(self.paces, _by_stage(self.costs, one), strict=True))
                     for one in (self.cut, plan))
        self.asked = self.asked + 1 if then < 0.95 * now else 0
        if self.asked >= 3:
            self.cut, self.asked = plan, 0
        return self.cut


LEARNERS: dict[str, Callable[[tuple[int, ...], list[float]], Learner]] = {
    "moving average": MovingAverage, "Kalman filter": CutBalancer,
}


@dataclass(frozen=True)
class Course:
    """Of one simulated run: expected seconds of the slowest stage, and of the best cut's."""

    seconds: np.ndarray
    ideal_s: np.ndarray
    imbalance: np.ndarray
    cuts: list[tuple[int, ...]]

    @property
    def moves(self) -> int:
        """How often the cut changed."""
        return sum(one != other for one, other in zip(self.cuts, self.cuts[1:], strict=False))

    def late(self) -> int:
        """Steps from the fault until the slowest stage is within 5 % of the best for good."""
        wrong = np.flatnonzero(self.seconds[FAULT_AT:] > WITHIN * self.ideal_s[FAULT_AT:])
        return int(wrong[-1]) + 1 if len(wrong) else 0


def _by_stage(costs: Sequence[float], cut: Sequence[int]) -> list[float]:
    ends = np.cumsum([0, *cut])
    return [sum(costs[first:last]) for first, last in zip(ends, ends[1:], strict=False)]


def simulate(
    make: Callable[[tuple[int, ...], list[float]], Learner], noise: float, spikes: float,
    costs: float, fault: bool, seed: int, devices: int = 2, units: int = 8,
) -> Course:
    """Runs a learner over planted devices and units.

    Args:
        make: Makes the learner of a cut and the known costs.
        noise: Deviation of a step's seconds.
        spikes: Share of the steps of a stage that take three times as long.
        costs: Deviation of the units' true costs from the known ones.
        fault: Whether device 1 becomes slow.
        seed: Of all that is drawn.
        devices: Number of stages.
        units: Number of units.
    """
    generator = np.random.default_rng(seed)
    known, true = [1.0] * units, np.exp(generator.normal(0, costs, units)).tolist()
    cut = tuple(balanced_cuts(known, devices))
    learner = make(cut, known)
    told: list[tuple[tuple[int, ...], list[float]]] = []
    seconds, ideal, imbalance, cuts = [], [], [], []
    for step in range(STEPS):
        pace = np.full(devices, UNIT_S)
        pace[1] *= SLOWER if fault and step >= FAULT_AT else 1.0
        expected = pace * _by_stage(true, cut)
        best = balanced_cuts(true, devices, (1 / pace).tolist())
        ideal.append(float((pace * _by_stage(true, best)).max()))
        seconds.append(float(expected.max()))
        imbalance.append(float(expected.max() / expected.mean()))
        cuts.append(cut)
        factor = np.exp(generator.normal(0, noise, devices))
        factor *= np.where(generator.random(devices) < spikes, SPIKE, 1.0)
        told.append((cut, (expected * factor).tolist()))
        if len(told) == WINDOW:
            for one in told:
                cut = learner.observe(*one)
            told = []
    return Course(np.array(seconds), np.array(ideal), np.array(imbalance), cuts)


SETTINGS = [(0.01, 0.0, 0.0), (0.03, 0.0, 0.2), (0.1, 0.0, 0.2), (0.03, 0.05, 0.2)]
SIZES = [(2, 4), (2, 12), (4, 12)]


def report(runs: int = 50) -> None:
    """Prints the table."""
    print(f"{'learner':15} {'stages':>6} {'units':>5} {'noise':>6} {'spikes':>7} {'costs':>6} "
          f"{'late':>5} {'worst':>6} {'excess':>7} {'moves':>6} {'wasted':>7}")
    for devices, units in SIZES:
        for setting in SETTINGS:
            for name, make in LEARNERS.items():
                faulty, sound = (
                    [simulate(make, *setting, fault, seed, devices, units)
                     for seed in range(runs)] for fault in (True, False)
                )
                late = [one.late() for one in faulty]
                noise, spikes, costs = setting
                print(f"{name:15} {devices:6d} {units:5d} {noise:6.0%} {spikes:7.0%} {costs:6.0%} "
                      f"{np.median(late):5.0f} {max(late):6d} {_excess(faulty):7.1%} "
                      f"{np.mean([one.moves for one in sound]):6.2f} {_excess(sound):7.2%}",
                      flush=True)


def _excess(courses: Sequence[Course]) -> float:
    return math.fsum(one.seconds.sum() for one in courses) / math.fsum(
        one.ideal_s.sum() for one in courses) - 1
