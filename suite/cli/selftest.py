"""``python -m suite selftest``: plants faults here, and shows what became of them."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from suite.cli.cluster import launching
from suite.config.matrix import build_matrix, known
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.validation import from_environment, validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.faults import KINDS, PHASES, Fault, every_fault
from suite.contract.registry import engines
from suite.machine import devices
from suite.measure.availability import unsupported_reason
from suite.measure.faults import SHORT, FaultBench, Finding, columns, with_ranks
from suite.measure.harness_faults import HARNESS, SHORT_HARNESS, HarnessBench
from suite.measure.leaks import own_temporary_files
from suite.measure.soak import Soak, growth
from suite.report.fault_table import HEAD, line, round_lines, soak_summary, summary

Show = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which faults to plant.

    Attributes:
        framework: Frameworks, and ``harness`` for faults of the command itself; empty for all.
        fault: Names of faults; empty for all of them.
        phase: Phases; empty for all of them.
        whole: Every fault in every phase, where a few are planted otherwise.
    """

    framework: Sequence[str] = ()
    fault: Sequence[str] = ()
    phase: Sequence[str] = ()
    whole: bool = False

    def check(self) -> None:
        """Raises :class:`UsageError` for a name that does not exist."""
        known("framework", list(self.framework), [*engines(), HARNESS])
        known("fault", list(self.fault), [*KINDS, *HarnessBench.FAULTS])
        known("phase", list(self.phase), PHASES)
        if not self.of_harness and not (self.ranks and self.of_ranks):
            got = f"{', '.join(self.fault)} in {', '.join(self.phase)}"
            raise UsageError("selftest", got, "a fault that can strike there",
                             "no such fault in such a phase: leave --phase out")

    @property
    def frameworks(self) -> list[str]:
        """Those whose ranks get faults; empty for all."""
        return [name for name in self.framework if name != HARNESS]

    @property
    def ranks(self) -> bool:
        """Whether ranks get faults at all."""
        return not self.framework or bool(self.frameworks)

    @property
    def of_ranks(self) -> list[Fault]:
        """The faults of a column."""
        every = self.whole or self.fault or self.phase
        return [one for one in (every_fault() if every else SHORT)
                if (not self.fault or one.kind in self.fault)
                and (not self.phase or one.phase in self.phase)]

    @property
    def of_harness(self) -> list[str]:
        """The faults of the command itself."""
        if self.phase or (self.framework and HARNESS not in self.framework):
            return []
        every = self.whole or self.fault or self.framework
        names = HarnessBench.FAULTS if every else SHORT_HARNESS
        return [name for name in names if not self.fault or name in self.fault]


def plant_faults(faults: bool, wanted: Wanted, as_json: bool) -> int:
    """Plants the faults and prints a line for each.

    Args:
        faults: Whether ``--faults`` was given.
        wanted: Which faults.
        as_json: Whether standard output is for JSON; the lines then go to standard error.

    Returns:
        0 if every fault was bounded, named and cleaned up after; 1 otherwise.
    """
    if not faults:
        raise UsageError("selftest", "nothing to do", "--faults or --soak MINUTES",
                         "python -m suite selftest --faults")
    wanted.check()
    show: Show = (lambda text: print(text, file=sys.stderr, flush=True)) if as_json else (
        lambda text: print(text, flush=True))
    show(HEAD)
    findings, untried = [], []
    with scratch_folder() as folder:
        for found in _findings(wanted, folder, uuid.uuid4().hex):
            if isinstance(found, str):
                untried.append(found)
                show(found)
                continue
            findings.append(found)
            show(line(found))
    show(summary(findings, untried))
    if as_json:
        print(json.dumps({"findings": [asdict(one) for one in findings], "untried": untried}))
    return 0 if findings and not any(one.problems for one in findings) else 1


def soak_runs(wanted: Wanted, minutes: float, seed: int) -> int:
    """Runs the smoke preset with random faults for so many minutes and prints a line a round.

    Returns:
        0 if nothing was left or lost and the harness's memory did not grow; 1 otherwise.
    """
    known("framework", list(wanted.framework), engines())
    options: dict[str, Any] = {"link": False, "seed": seed}
    if wanted.framework:
        options["framework"] = list(wanted.framework)
    config = resolve("smoke", None, options)
    able = [case for case in build_matrix(config, devices.gpu_count())
            if not unsupported_reason(case, config.python)]
    if not able:
        raise UsageError("--framework", ",".join(wanted.framework), "one that runs here",
                         "python -m suite doctor says what is missing")
    rounds = []
    with scratch_folder() as folder, launching("local", (), folder) as launcher:
        soak = Soak(config, able, folder / "runs", uuid.uuid4().hex, launcher)
        for one in soak.rounds(60 * minutes):
            rounds.append(one)
            print(*round_lines(one), sep="\n", flush=True)
    grown, trend = growth(rounds)
    print(soak_summary(rounds, grown, trend))
    return 1 if trend or any(one.problems or one.leaks or one.survivors for one in rounds) else 0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields a folder for the launches of a self-test and for their temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="suite-selftest-"))
    try:
        with own_temporary_files(folder / "tmp"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _findings(wanted: Wanted, folder: Path, token: str) -> Iterator[Finding | str]:
    """Findings as they come, and in words what could not be tried."""
    config = validate(RunConfig, from_environment(RunConfig) | {"workload": ["mlp"]})
    found = columns(wanted.frameworks, config.python)
    if wanted.ranks and wanted.of_ranks:
        with launching("local", (), folder) as launcher:
            bench = FaultBench(config, folder / "ranks", token, launcher)
            for name, (case, reason) in found.items():
                yield from _column(bench, name, case, reason, wanted.of_ranks)
    if wanted.of_harness:
        able = [case.framework for case, reason in found.values() if not reason]
        if not able:
            yield "harness: not tried, no framework runs here"
            return
        bench_of_commands = HarnessBench(able[0], folder / "harness", token)
        for kind in wanted.of_harness:
            yield bench_of_commands.plant(kind)


def _column(
    bench: FaultBench, name: str, case: Case, reason: str, faults: list[Fault]
) -> Iterator[Finding | str]:
    if reason:
        yield f"{name}: not tried, {reason}"
        return
    if problem := bench.prepare(case):
        yield Finding(name, "none", "", "failed", problem, problems=["fails without a fault"])
        return
    for fault in with_ranks(faults, case):
        yield bench.plant(name, case, fault)
