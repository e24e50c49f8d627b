"""``--strategy auto``: of all ways of every question, which can run, fit, and are worth running."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from suite.contract.candidates import Candidate, Fate, is_alone, question
from suite.contract.case import Case
from suite.foresight.automatic import (
    Foreseen,
    cut_by_time,
    finalists,
    foresee,
    too_large,
)
from suite.foresight.fitting import Posterior
from suite.measure.availability import unsupported_reason
from suite.measure.room import Room, shortage

# Constants of the machine for a case's framework, engine and mode; None where nothing is known.
Known = Callable[[Case], Posterior | None]


def survey(
    cases: Sequence[Case], known: Known, python: Mapping[str, str], room: Room, most: int
) -> tuple[list[Case], list[Candidate]]:
    """Looks at every way, and picks those that a run has to measure.

    Args:
        cases: Every way of every question.
        known: Constants to predict with.
        python: Interpreters of frameworks that have an environment of their own.
        room: Memory that is free.
        most: How many ways of a question are run besides plain data parallelism and one device.

    Returns:
        The cases to run, and what became of every way.
    """
    chosen: dict[str, Case] = {}
    table: list[Candidate] = []
    for devices, ways in _questions(cases):
        posterior = known(ways[0])
        limits = _Limits(devices, python, room)
        able, left_out = limits.sift(ways)
        cuts, without_cut = limits.sift(_cuts(able, posterior))
        fitting: list[Foreseen] = []
        for one in foresee([*able, *cuts], posterior):
            # One device may swap and is still the base; whether it fits was asked above.
            if (large := too_large(one)) and not is_alone(one.case):
                left_out.append(one.candidate(devices, "too large", large))
            else:
                fitting.append(one)
        found = finalists(fitting, devices, most)
        table += found + left_out + without_cut
        by_id = {one.case.case_id: one.case for one in fitting}
        chosen |= {one.case_id: by_id[one.case_id] for one in found if one.fate == "run"}
    return list(chosen.values()), table


def _questions(cases: Sequence[Case]) -> list[tuple[int, list[Case]]]:
    """Divides ways by what they are ways of; one device is among those of every number."""
    counts = sorted({case.devices for case in cases if case.strategy != "single"}) or [1]
    found = []
    for devices in counts:
        groups: dict[str, list[Case]] = {}
        for case in cases:
            if case.strategy == "single" or case.devices == devices:
                groups.setdefault(question(case, devices), []).append(case)
        found += [(devices, group) for group in groups.values()]
    return found


def _cuts(ways: Sequence[Case], posterior: Posterior | None) -> list[Case]:
    """The pipelines among these with stages of equal predicted time."""
    if posterior is None:
        return []
    found = (cut_by_time(case, posterior) for case in ways)
    return [case for case in found if case is not None]


@dataclass(frozen=True)
class _Limits:
    """What keeps a way of a question from running here."""

    devices: int
    python: Mapping[str, str]
    room: Room

    def sift(self, cases: Sequence[Case]) -> tuple[list[Case], list[Candidate]]:
        """Returns the cases that can be started, and the others with the reason."""
        able: list[Case] = []
        left_out: list[Candidate] = []
        for case in cases:
            fate: Fate = "excluded"
            reason = unsupported_reason(case, self.python)
            if not reason:
                fate, reason = "too large", shortage(case, self.room)
            if reason:
                left_out.append(Foreseen(case).candidate(self.devices, fate, reason))
            else:
                able.append(case)
        return able, left_out
