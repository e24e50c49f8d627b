"""Runs of the smoke preset with random faults, over and over: what is left in the end?"""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.faults import MOMENT, VARIABLE, WORKER, Fault, every_fault
from suite.contract.row import Row
from suite.launch.group import Launcher, LaunchRequest, Outcome, launch
from suite.launch.nurseries import renew
from suite.machine.calibration import Calibration
from suite.measure.faults import LEAST_PATIENCE_SECONDS, PATIENCE, last_rank
from suite.measure.leaks import TOKEN, Held, carriers, end_carriers, held
from suite.measure.runner import Runner
from suite.runfolder.reading import read_run

CASES_A_ROUND, FAULT_SHARE = 4, 0.5
# Of a planted launch, before one without a fault has told how long it may take.
FIRST_PATIENCE_SECONDS = 60.0
# Growth of the harness's memory from the first third of the rounds to the last that is no trend.
GROWTH_SHARE, GROWTH_BYTES = 0.05, 16 << 20


@dataclass
class Round:
    """One run: how many cases and launches it had, which faults struck, what was wrong."""

    number: int
    cases: int = 0
    launches: int = 0
    faults: list[str] = field(default_factory=list)
    survivors: int = 0
    leaks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    resident_bytes: int = 0


class Soak:
    """Rounds of a seed; the same seed draws the same cases and faults.

    Args:
        config: Of every run; its ``seed`` is the soak's.
        cases: What rounds draw from.
        folder: Where run folders live for a round.
        token: The mark of every process that is started.
        launcher: Starts a group; tests replace it.
        calibrate: Measures the machine in a run; tests replace it.
    """

    def __init__(
        self, config: RunConfig, cases: list[Case], folder: Path, token: str,
        launcher: Launcher = launch, calibrate: Calibration | None = None,
    ) -> None:
        self.config, self.cases, self.folder, self.token = config, cases, folder, token
        self.launcher, self.calibrate = launcher, calibrate
        self.longest_s = 0.0
        self.random = random.Random(config.seed)
        self.planted: dict[str, tuple[Fault, LaunchRequest]] = {}
        self.launches = 0

    def rounds(
        self, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> Iterator[Round]:
        """Makes rounds until the time is over; the last one begins before that."""
        ends, number = clock() + seconds, 0
        before: Held | None = None
        while clock() < ends:
            number += 1
            done = self._round(number)
            after = held(self.token)
            # What the first run imports and opens stays with the process.
            done.leaks = after.beyond(before) if before else []
            before = before or after
            end_carriers(self.token)
            yield done

    def _round(self, number: int) -> Round:
        self.planted, self.launches = {}, 0
        folder = self.folder / f"round-{number}"
        (folder / "cases").mkdir(parents=True)
        drawn = self.random.sample(self.cases, min(CASES_A_ROUND, len(self.cases)))
        runner = Runner(self.config, drawn, folder, lambda event: None, self._launch,
                        command_line=["selftest"], calibrate=self.calibrate)
        runner.execute()
        rows = runner.finish("complete")
        renew(self.launcher)
        done = Round(number, len(drawn), self.launches)
        self._judge(done, rows)
        done.problems += _unsaved(folder, rows)
        done.survivors = len(carriers(self.token))
        shutil.rmtree(folder)
        done.resident_bytes = psutil.Process().memory_info().rss
        return done

    def _launch(self, request: LaunchRequest) -> Outcome:
        """A launch of a case, every second one with a fault; references have none."""
        self.launches += 1
        request = replace(request, settings={**request.settings, TOKEN: self.token})
        is_case = request.folder.name.startswith("launch-")
        if not is_case or self.random.random() > FAULT_SHARE:
            outcome = self.launcher(request)
            self.longest_s = max(self.longest_s, outcome.seconds)
            return outcome
        fault = self._draw(request.case)
        self.planted[request.case.case_id] = fault, request
        patience = PATIENCE * self.longest_s + LEAST_PATIENCE_SECONDS
        return self.launcher(replace(
            request, worker=WORKER, settings={**request.settings, VARIABLE: fault.written()},
            timeout_seconds=patience if self.longest_s else FIRST_PATIENCE_SECONDS,
        ))

    def _draw(self, case: Case) -> Fault:
        last = last_rank(case)
        # One process is in no collective for long enough to be hit there in a few steps.
        able = [one for one in every_fault() if last or one.phase != "collective"]
        return replace(self.random.choice(able), rank=self.random.randint(0, last))

    def _judge(self, done: Round, rows: list[Row]) -> None:
        """A case that was hit says so, and every other one is as if nothing had been."""
        for row in rows:
            fault, request = self.planted.get(row.case_id, (None, None))
            struck = request is None or (request.folder / MOMENT).exists()
            if row.status == "unsupported" or not struck:
                continue
            expected: tuple[str, ...] = ("ok",)
            if fault and request:
                done.faults.append(f"{fault.kind} in {fault.phase} of {row.case_id}")
                expected = fault.statuses(request.case.probe_steps > 0)
            if row.status not in expected:
                done.problems.append(f"{row.case_id} with {fault or 'no fault'} is {row.status}: "
                                     f"{row.reason}")


def _unsaved(folder: Path, rows: list[Row]) -> list[str]:
    """Results that the run folder does not give back."""
    stored = {result.case.case_id: result.status for result in read_run(folder).results}
    return [f"{row.case_id} is {row.status} and was saved as {stored.get(row.case_id)}"
            for row in rows if stored.get(row.case_id) != row.status]


def growth(rounds: list[Round]) -> tuple[int, bool]:
    """Bytes that the harness grew by from the first third of the rounds to the last, and whether
    that is a trend; 0 for fewer than three rounds.
    """
    third = len(rounds) // 3
    if not third:
        return 0, False
    resident = [one.resident_bytes for one in rounds]
    first, last = statistics.median(resident[:third]), statistics.median(resident[-third:])
    return int(last - first), last - first > max(GROWTH_BYTES, GROWTH_SHARE * first)
