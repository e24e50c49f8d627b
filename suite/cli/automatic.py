"""``run --strategy auto``: which of all ways to run; measures constants that are missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache

from suite.cli.calibrate import measure_and_keep
from suite.cli.stored import constants_of_case
from suite.config.model import RunConfig
from suite.contract.candidates import Candidate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.foresight.fitting import Posterior
from suite.machine.devices import allowed_cores
from suite.measure.automatic import survey
from suite.measure.constants import cases_to_calibrate, plan_for
from suite.measure.room import free_room


def pick_ways(
    config: RunConfig, cases: Sequence[Case], measure: bool
) -> tuple[list[Case], list[Candidate]]:
    """Picks the ways that a run has to measure.

    Args:
        config: What was asked for.
        cases: Every way.
        measure: Whether constants of this machine that are not stored may be measured now.

    Returns:
        The cases to run, and what became of every way.

    Raises:
        UsageError: No way can run here.
    """
    if measure:
        measure_missing(config, cases)

    @cache
    def known(case: Case) -> Posterior | None:
        return constants_of_case(case)

    chosen, table = survey(cases, known, config.python, free_room(), config.finalists)
    if not chosen:
        why = table[0].reason if table else "there is none"
        raise UsageError("--strategy auto", f"no way: {why}", "a way that can run here",
                         "choose another --framework, --workload, --batch or --devices")
    return chosen, table


def measure_missing(config: RunConfig, cases: Sequence[Case]) -> None:
    """Measures constants of the frameworks, engines and modes of which nothing is stored."""
    for device in dict.fromkeys(case.device for case in cases):
        mine = [case for case in cases if case.device == device and case.dtype == "float32"]
        missing = {(case.framework, case.engine, case.mode): case for case in mine
                   if constants_of_case(case) is None}
        most = len(allowed_cores()) if device == "cpu" else sys.maxsize
        count = min(max([2, *(case.devices for case in mine)]), most)
        wanted = [one for framework, engine, mode in missing for one in cases_to_calibrate(
            {framework: [engine]}, [framework], [mode], device, count)]
        if not wanted:
            continue
        print(f"measuring constants of {len(wanted)} framework columns here, once, to predict with",
              file=sys.stderr)
        workloads = list(dict.fromkeys(case.spec for case in mine))
        _, unknown = measure_and_keep(wanted, plan_for(workloads, device), config.python)
        for name, reason in unknown.items():
            print(f"{name} has no predictions: {reason}", file=sys.stderr)
