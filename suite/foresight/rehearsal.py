"""A rehearsal: a training of a shallow model, and what it says beside a stack's constants."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.foresight.plans import Plan
from suite.foresight.units import Array, Model

AXES = ("replicas", "shards", "stages")


@dataclass(frozen=True)
class Calls:
    """What communications took inside the steps of a rehearsal.

    Attributes:
        transfer_s: Those of a step in all, T_comm's transfer.
        latency_s: The part of one call that does not depend on its size.
        alpha_s_per_byte: Seconds of a further byte.
        first_calls: Calls for gradients besides one for every ``call_bytes``.
        call_bytes: Bytes of gradients after which one more call is made.
    """

    transfer_s: float
    latency_s: float
    alpha_s_per_byte: float
    first_calls: float = 1.0
    call_bytes: float = float("inf")


@dataclass(frozen=True)
class Rehearsal:
    """A training of a shallow model, as it was measured.

    Attributes:
        plan: How it was split.
        model: Its units.
        step_s: Seconds of a step.
        calls: What it communicated; None on one device.
    """

    plan: Plan
    model: Model
    step_s: float
    calls: Calls | None = None


@dataclass(frozen=True)
class Rehearsed:
    """Rehearsals of one way of splitting beside what a stack's constants say of them.

    Attributes:
        plan: The way, of the first rehearsal.
        pass_s: Predicted seconds of both passes of a micro-batch, ascending: (rehearsals,).
        step_factor: Measured over predicted step, (rehearsals,).
        calls: What each communicated.
        calls_s: Seconds of each one's calls one after another, as the fit to them says.
    """

    plan: Plan
    pass_s: Array
    step_factor: Array
    calls: tuple[Calls | None, ...]
    calls_s: Array

    def distance(self, plan: Plan) -> tuple[bool, bool, float]:
        """How unlike another plan on the same axes is: in sharding, schedule, devices."""
        return (self.plan.sharding != plan.sharding,
                plan.stages > 1 and self.plan.schedule != plan.schedule,
                abs(float(np.log(self.plan.devices / plan.devices))))

    def between(self, pass_s: Array, values: Array) -> Array:
        """Values of the rehearsals, interpolated for passes of other lengths.

        Beyond the shortest and the longest one they go on as they are there.
        """
        return np.interp(np.log(pass_s), np.log(self.pass_s), values)


def axes_of(plan: Plan) -> tuple[bool, ...]:
    """Which of ``AXES`` divide the work of a plan."""
    return tuple(getattr(plan, name) > 1 for name in AXES)
