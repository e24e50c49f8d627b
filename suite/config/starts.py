"""Which cases have ranks that are forked from a process that has imported the framework."""

from __future__ import annotations

from dataclasses import replace

from suite.contract.case import FORKED, Case
from suite.contract.errors import UsageError
from suite.contract.pages import forking_problem
from suite.contract.registry import traits_of

AUTO = "auto"


def with_starts(cases: list[Case], asked: str) -> list[Case]:
    """Returns the cases with their way to start.

    Args:
        cases: The cases of a matrix.
        asked: The option ``start``.

    Raises:
        UsageError: A case was asked to be forked and cannot be.
    """
    if asked not in (AUTO, FORKED):
        return cases
    barred = {case: _barred(case) for case in cases}
    first = next((case for case in cases if barred[case]), None)
    if asked == FORKED and first:
        raise UsageError("--start", f"{FORKED}, for {first.case_id}", barred[first],
                         "leave --start out: what can be forked is")
    return [case if barred[case] else replace(case, start=FORKED) for case in cases]


def _barred(case: Case) -> str:
    """Returns why the ranks of a case cannot be forks; empty if they can."""
    if problem := forking_problem():
        return problem
    if case.device != "cpu" or case.hosts > 1:
        return "CPU devices of this host"
    if case.mode != "eager":
        return "eager cases: what compiles starts processes of its own"
    if case.engine not in traits_of(case.framework).preloaded:
        return "an adapter that says what its ranks import (Traits.preloaded)"
    return ""
