"""A rehearsal: a training of a shallow model, and what it says beside a stack's constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from suite.foresight.plans import Plan
from suite.foresight.units import Array, Model

AXES = ("replicas", "shards", "stages")
S = TypeVar("S")
# Passes this many times as long, or as short, are still rehearsed ones.
NEAR = 2.0


@dataclass(frozen=True)
class Calls:
    """What communications took inside the steps of a rehearsal.

    Attributes:
        transfer_s: Those of a step in all, T_comm's transfer.
        call_s: Seconds of the mean call.
        bytes: Its bytes.
        exposed_s: Seconds of a step that nothing hid, waiting for the last device included.
        first_calls: Calls for gradients besides one for every ``call_bytes``.
        call_bytes: Bytes of gradients after which one more call is made.
    """

    transfer_s: float
    call_s: float
    bytes: float
    exposed_s: float
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
class Beside(Generic[S]):
    """A rehearsal beside what is predicted of it.

    Attributes:
        pass_s: Predicted seconds of both passes of a micro-batch.
        inside: The stack with links as a call inside the rehearsal's steps found them.
        step_factor: Measured over predicted step, predicted with ``inside``.
        plain_factor: The same, predicted with the stack's own links.
        transfer_factor: Measured over predicted T_comm, predicted with ``inside``.
        exposed_share: The part of T_comm's transfer that nothing hid.
        micro_batch: Samples of one pass of one replica.
    """

    pass_s: float
    inside: S
    step_factor: float
    plain_factor: float
    transfer_factor: float
    exposed_share: float
    micro_batch: float


@dataclass(frozen=True)
class Rehearsed(Generic[S]):
    """A way of splitting with its rehearsals, of ascending length of their passes.

    Attributes:
        plan: The way, of one of the rehearsals.
        trials: The rehearsals.
    """

    plan: Plan
    trials: tuple[Beside[S], ...]

    def distance(self, plan: Plan) -> tuple[bool, bool, float]:
        """How unlike another plan on the same axes is: in what is kept, schedule, devices."""
        return ((self.plan.sharding, self.plan.recompute) != (plan.sharding, plan.recompute),
                plan.stages > 1 and self.plan.schedule != plan.schedule,
                abs(float(np.log(self.plan.devices / plan.devices))))

    def weights(self, pass_s: Array) -> Array:
        """How much each rehearsal counts for passes of these lengths, (trials, passes).

        Between two of them both count, by the logarithm of the length; beyond the shortest and
        the longest one that one does.
        """
        lengths = np.log([one.pass_s for one in self.trials])
        return np.array([np.interp(np.log(pass_s), lengths, place)
                         for place in np.eye(len(lengths))])

    def covers(self, micro_batch: Array, pass_s: Array) -> NDArray[np.bool_]:
        """Whether passes are nearly as long as in a rehearsal, (passes,) of true and false.

        Operations take as long as their samples say, however many units there are; hops of a
        pipeline wait for whole passes.

        Args:
            micro_batch: Samples of each pass.
            pass_s: Predicted seconds of each.
        """
        mine, asked = (([one.pass_s for one in self.trials], pass_s) if self.plan.stages > 1
                       else ([one.micro_batch for one in self.trials], micro_batch))
        return (asked >= min(mine) / NEAR) & (asked <= max(mine) * NEAR)


def axes_of(plan: Plan) -> tuple[bool, ...]:
    """Which of ``AXES`` divide the work of a plan."""
    return tuple(getattr(plan, name) > 1 for name in AXES)
