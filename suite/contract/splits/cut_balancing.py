"""Stage cuts that follow what the devices show: a filter of devices and units, and a rule.

A stage is busy for the pace of its device times the sum of what its units cost. Before a training
the units' FLOPs are all that is known of their costs, and devices count as equally fast. Busy
seconds of the stages correct both: what changes while the cut stays is a device, and what a stage
gains or loses when units move tells what these units cost. All ranks give a balancer the same
figures and so take the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import median

import numpy as np

from suite.contract.splits.balancing import (
    CONFIRMED,
    FIRST_NOISE,
    JUMP,
    LEAST_NOISE,
    NOISE_WEIGHT,
    OUTSIDE,
    REST,
    WANDER,
)
from suite.contract.splits.stages import balanced_cuts

# A new cut has to be this much faster: layers and their optimiser's states have to be moved.
LEAST_GAIN = 0.05
# Deviation, as a share, of what is known before a training: of a device's pace, of a unit's cost,
# and of the cost of the first and last unit, whose FLOPs leave out embedding and loss.
PACE, COST, END_COST = 0.3, 0.25, 0.5
# Deviations of the promised gain by which it has to exceed nothing.
SURE = 1.5
# A unit without products is not free.
LEAST_COST = 1e-3


class StageFilter:
    """An extended Kalman filter of how long the units of each stage take.

    Its state are the logarithms of every device's pace and of every unit's cost; it sees the
    logarithm of busy seconds, ``pace + log(sum(exp(cost)))``, through noise that is estimated
    beside it (Bar-Shalom, Li & Kirubarajan 2001, section 10.3). A value outside ``OUTSIDE``
    deviations is held back, and when ``JUMP`` of them in a row lie on the same side, it is the
    pace of the device that has changed.

    Args:
        devices: Number of stages.
        costs: Of each unit in any measure, such as FLOPs.
    """

    def __init__(self, devices: int, costs: Sequence[float]) -> None:
        self.devices = devices
        least = LEAST_COST * sum(costs) / len(costs)
        self.state = np.log([1.0] * devices + [max(cost, least) for cost in costs])
        unsure = np.array([PACE] * devices + [COST] * len(costs))
        unsure[devices] = unsure[-1] = END_COST
        self.covariance = np.diag(unsure**2)
        self.noise = [FIRST_NOISE**2] * devices
        self._held: list[list[float]] = [[] for _ in range(devices)]
        self._scaled = False

    @property
    def paces(self) -> np.ndarray:
        """Seconds that each device takes for a unit of cost."""
        return np.exp(self.state[:self.devices])

    @property
    def costs(self) -> np.ndarray:
        """Estimated cost of each unit, in the measure that was given."""
        return np.exp(self.state[self.devices:])

    def busy(self, cut: Sequence[int]) -> np.ndarray:
        """Expects the busy seconds of each stage.

        Args:
            cut: Units of each stage.
        """
        costs = self.costs
        sums = np.array([costs[units].sum() for units in _stages(cut)])
        return np.asarray(self.paces * sums)

    def slope(self, cut: Sequence[int], device: int) -> np.ndarray:
        """How the logarithm of a stage's busy seconds depends on the state.

        Args:
            cut: Units of each stage.
            device: Whose stage.
        """
        return self._expected(device, _stages(cut)[device])[1]

    def _expected(self, device: int, units: slice) -> tuple[float, np.ndarray]:
        """Of the stage that has these units: the logarithm of its busy seconds, and its slope."""
        row = np.zeros(len(self.state))
        row[device] = 1.0
        costs = np.exp(self.state[self.devices:][units])
        total = costs.sum()
        row[self.devices:][units] = costs / total
        return float(self.state[device]) + math.log(total), row

    def update(self, cut: Sequence[int], busy: Sequence[float]) -> None:
        """Takes in a step.

        Args:
            cut: Units of each stage in that step.
            busy: Seconds that each device was busy, above 0.
        """
        if not self._scaled:  # seconds, where FLOPs were
            self.state[:self.devices] += np.log(np.array(busy) / self.busy(cut)).mean()
            self._scaled = True
        self.covariance[range(self.devices), range(self.devices)] += WANDER**2
        for device, units in enumerate(_stages(cut)):
            self._see(device, units, math.log(busy[device]))

    def _see(self, device: int, units: slice, seen: float) -> None:
        expected, row = self._expected(device, units)
        surprise = seen - expected
        with_row = self.covariance @ row
        predicted = float(row @ with_row)
        if surprise**2 > OUTSIDE**2 * (predicted + self.noise[device]):
            self._outside(device, row, surprise)
            return
        self._held[device] = []
        gain = with_row / (predicted + self.noise[device])
        self.state += gain * surprise
        self.covariance -= np.outer(gain, with_row)
        seen_noise = max(surprise**2 - predicted, 0.0)
        noise = (1 - NOISE_WEIGHT) * self.noise[device] + NOISE_WEIGHT * seen_noise
        self.noise[device] = max(noise, LEAST_NOISE**2)

    def _outside(self, device: int, row: np.ndarray, surprise: float) -> None:
        held = self._held[device]
        if held and held[0] * surprise < 0:
            held.clear()
        held.append(surprise)
        if len(held) == JUMP:
            self.state[device] += median(held)
            self._forget(device, row)
            held.clear()

    def _forget(self, device: int, row: np.ndarray) -> None:
        """A pace that was just seen is as unsure as the costs that it was divided by."""
        units = row.copy()
        units[device] = 0.0
        self.covariance[device] = self.covariance[:, device] = 0.0
        shared = self.covariance @ units
        self.covariance[device] = self.covariance[:, device] = -shared
        self.covariance[device, device] = units @ shared + self.noise[device] / JUMP


class CutBalancer:
    """Plans cuts step by step.

    Args:
        cut: Units of each stage now.
        costs: Of each unit in any measure, such as FLOPs.
    """

    def __init__(self, cut: Sequence[int], costs: Sequence[float]) -> None:
        self.cut = tuple(cut)
        self.filter = StageFilter(len(self.cut), costs)
        self._asked = self._rested = 0
        self._tried: tuple[int, ...] = ()

    def observe(self, cut: Sequence[int], busy: Sequence[float]) -> tuple[int, ...]:
        """Takes in a step and returns the cut to train on from now on.

        The first step on another cut tells nothing: it allocates, and stages agree on shapes.

        Args:
            cut: Units of each stage in that step.
            busy: Seconds that each device was busy with them, all above 0.

        Returns:
            The cut, in force until another call returns another one.
        """
        if tuple(cut) != self._tried:
            self._tried = tuple(cut)
            return self.cut
        self.filter.update(cut, busy)
        self._rested += 1
        plan = self._better()
        self._asked = self._asked + 1 if plan != self.cut else 0
        if self._asked >= CONFIRMED and self._rested > REST:
            self.cut, self._asked, self._rested = plan, 0, 0
        return self.cut

    def _better(self) -> tuple[int, ...]:
        """The best cut, or the present one where no other is faster for sure."""
        paces, costs = self.filter.paces, self.filter.costs
        now = self.filter.busy(self.cut)
        # No cut is faster than work that could be divided anywhere.
        if 1 - costs.sum() / (1 / paces).sum() / now.max() <= LEAST_GAIN:
            return self.cut
        plan = tuple(balanced_cuts(costs.tolist(), len(paces), (1 / paces).tolist()))
        then = self.filter.busy(plan)
        between = (self.filter.slope(plan, int(then.argmax()))
                   - self.filter.slope(self.cut, int(now.argmax())))
        unsure = math.sqrt(max(between @ self.filter.covariance @ between, 0.0))
        sooner = 1 - then.max() / now.max()
        return plan if sooner > max(LEAST_GAIN, SURE * unsure) else self.cut


def _stages(cut: Sequence[int]) -> list[slice]:
    return [slice(*pair) for pair in pairwise([0, *accumulate(cut)])]
