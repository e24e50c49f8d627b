"""Rehearsals: every way of splitting trains the first units of a model, in one small run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from suite.contract.case import Case
from suite.contract.splits.division import division_problem

# How many times as large a batch a pipeline is rehearsed with as well: its hops wait for passes of
# a stage, which take longer in the whole model.
LONGER = 2


def rehearsal_depth(cases: Sequence[Case]) -> int:
    """Units of the shallow model that all ways of splitting a model rehearse with.

    Two for each stage, so that a stage passes on from unit to unit as well, or one if the whole
    model is not deeper than that.

    Args:
        cases: The ways, of one workload.

    Returns:
        The depth; 0 if no shallower model of this workload divides as these ways need it.
    """
    stages, whole = max(case.stages for case in cases), cases[0].spec
    possible = [case for case in cases if not division_problem(case)]
    for depth in range(2 * stages, 0, -stages):
        part = whole.shallower(depth)
        shallower = part is not None and len(part.units()) < len(whole.units())
        if shallower and not any(division_problem(replace(one, depth=depth)) for one in possible):
            return depth
    return 0


def rehearsal_cases(cases: Sequence[Case], depth: int) -> list[Case]:
    """The same ways with a model of this depth; pipelines also with a larger batch."""
    found = [replace(case, depth=depth) for case in cases]
    return found + [replace(case, global_batch=LONGER * case.spec.global_batch)
                    for case in found if case.stages > 1]
