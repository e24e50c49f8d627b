"""The proof of a model that is too large as a whole: its first layers, at full width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suite.contract.case import Case
from suite.contract.splits.division import division_problem

# A proof of fewer layers is tried at so many depths.
SHALLOW_ATTEMPTS = 3


@dataclass(frozen=True)
class Shallow:
    """How a model is proven that is too large as a whole.

    Attributes:
        depth: That its cases are launched with.
        units: How many units that are.
        of: Units of the whole model.
        losses: Of the whole model on one device in float32; empty if none could compute them.
    """

    depth: int
    units: int
    of: int
    losses: Sequence[float]

    @property
    def text(self) -> str:
        """What a row is proven by, in words."""
        rest = "against float32 on one device" if self.losses else "finite, no more is known"
        return f"float64 of {self.units} of {self.of} units; losses of all {self.of} {rest}"


def depths(cases: Sequence[Case]) -> list[int]:
    """Depths at which a large model may be proven, the preferred one first.

    Every stage of a pipeline has two units or more, so that each passes from unit to unit and from
    stage to stage; one where there are not so many. Whatever a strategy does to a unit is done.
    """
    stages = max(case.stages for case in cases)
    whole = cases[0].spec
    found = []
    for depth in (*range(2 * stages, 4 * stages + 1), *range(2 * stages - 1, stages - 1, -1)):
        part = whole.shallower(depth)
        fits = part is not None and len(part.units()) < len(whole.units())
        if fits and not any(division_problem(replace(case, depth=depth)) for case in cases):
            found.append(depth)
    return found[:SHALLOW_ATTEMPTS]
