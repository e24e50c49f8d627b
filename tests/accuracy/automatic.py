"""What ``--strategy auto`` loses against measuring every way, and how much time it saves.

For each model every way that can run here is measured, in one interleaved run. Beside it
``--strategy auto`` chooses, in a run of its own. The regret is the step time of its choice over the
lowest, both from the exhaustive run, so that noise between the two runs does not count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from suite.analysis.choice import choices, mark_chosen
from suite.analysis.verdict import Comparison, compare_cases
from suite.cli.automatic import measure_missing
from suite.cli.cluster import launching
from suite.cli.stored import constants_of_case
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.row import Row
from suite.foresight.automatic import cut_by_time
from suite.measure.automatic import survey
from suite.measure.progress import Progress
from suite.measure.room import free_room
from suite.measure.runner import Runner

# Framework, workload and size; ``python -m tests.accuracy auto NAME ...`` runs some of them.
COLUMNS = ("pytorch/mlp/wide", "pytorch/gpt/tiny", "pytorch/bert/tiny", "tensorflow/gpt/tiny")
# Launches of every way in the exhaustive run; the goals for regret and for the share of its time.
LAUNCHES, REGRET, SHARE = 6, 1.03, 0.25
EVERY = 10**6


@dataclass(frozen=True)
class Result:
    """One question.

    Attributes:
        question: The question, in words.
        ways: How many ways were measured exhaustively.
        chosen: Case that was chosen.
        best: Case with the lowest step time of all.
        regret: How many times as long a step of the choice takes as one of the best.
        against: The best compared with the choice in the same blocks; None if they are the same.
        chose_s: Seconds of the run that chose, references included.
        exhaustive_s: Seconds of the exhaustive run.
        launches: Launches of both runs.
    """

    question: str
    ways: int
    chosen: str
    best: str
    regret: float
    against: Comparison | None
    chose_s: float
    exhaustive_s: float
    launches: tuple[int, int]

    @property
    def kept(self) -> bool:
        """Whether both goals are met, the regret's within its interval."""
        low = 1.0 if self.against is None else min(self.against.low, self.regret)
        return low <= REGRET and self.chose_s <= SHARE * self.exhaustive_s


def report(*columns: str) -> int:
    """Measures, prints the table of regrets, and returns 1 if a goal is missed."""
    found = [result for column in columns or COLUMNS for result in measure(column)]
    print(f"{'question':58} ways  regret [95 %]         share of time  launches  choice")
    for one in found:
        interval = "(the best)" if one.against is None else (
            f"[{one.against.low:.2f}, {one.against.high:.2f}]")
        print(f"{one.question:58} {one.ways:4}  {one.regret:.3f} {interval:14} "
              f"{one.chose_s / one.exhaustive_s:6.1%} of {one.exhaustive_s:.0f} s  "
              f"{one.launches[0]}/{one.launches[1]}  {one.chosen}; best {one.best}")
    missed = [one for one in found if not one.kept]
    print(f"{len(found) - len(missed)} of {len(found)} within {REGRET} and {SHARE:.0%}")
    return 1 if missed else 0


def measure(column: str) -> list[Result]:
    """Lets the suite choose, then measures every way; a result for each engine."""
    framework, workload, size = column.split("/")
    asked = {"strategy": ["auto"], "framework": [framework], "workload": [workload], "size": size,
             "probes": 0, "link": False, "accumulate": [1, 2],
             "recompute": ["none"]}
    config = resolve("quick", None, asked)
    cases = build_matrix(config, gpus=0)
    measure_missing(config, cases)
    began = time.monotonic()
    picked, _ = survey(cases, constants_of_case, config.python, free_room(), config.finalists)
    chose, chose_s = _run(config, picked), time.monotonic() - began
    names = list(dict.fromkeys(case.strategy for case in cases))
    began = time.monotonic()
    every = _run(replace(config, strategy=names, repeats=LAUNCHES, leader_repeats=0),
                 _every_way(config, cases))
    exhaustive_s = time.monotonic() - began
    mark_chosen(every)  # all are ways of one question, whatever they accumulate
    return [result_of(one.question, one.row.case_id, chose, every, (chose_s, exhaustive_s))
            for one in choices(chose)]


def _every_way(config: RunConfig, cases: Sequence[Case]) -> list[Case]:
    """All that can run and fit, those included that are predicted to be slower."""
    _, table = survey(cases, constants_of_case, config.python, free_room(), EVERY)
    able = {one.case_id for one in table if one.fate in ("run", "slower")}
    cut = [cut_by_time(case, known) for case in cases if (known := constants_of_case(case))]
    whole = [*cases, *(case for case in cut if case)]
    return [case for case in whole if case.case_id in able]


def _run(config: RunConfig, cases: Sequence[Case]) -> list[Row]:
    folder = Path(mkdtemp(prefix="accuracy-auto-"))
    (folder / "cases").mkdir()
    print(f"{folder}: {len(cases)} cases", flush=True)

    def show(event: Progress) -> None:
        with suppress(OSError):
            print(f"[{event.done}/{event.total}] {event.text}", flush=True)

    with launching(config.launcher, (), folder) as launcher:
        runner = Runner(config, list(cases), folder, show, launcher)
        runner.execute()
        return runner.finish("complete")


def result_of(
    question: str, chosen: str, chose: Sequence[Row], every: Sequence[Row],
    seconds: tuple[float, float],
) -> Result:
    """Holds a choice against every way.

    Args:
        question: What was chosen for, in words.
        chosen: Case that was chosen.
        chose: Rows of the run that chose.
        every: Rows of the exhaustive run.
        seconds: Of both runs.
    """
    engine = next(row.engine for row in every if row.case_id == chosen)
    rows = [row for row in every if row.engine == engine and row.timed]
    best = min(rows, key=lambda row: row.step_seconds)
    mine = next(row for row in rows if row.case_id == chosen)
    same = mine is best
    # Engines of one framework share both runs, so each gets its part of their time.
    part = len(rows) / len([row for row in every if row.timed])
    launches = [sum(row.repeats for row in group if row.engine == engine)
                for group in (chose, every)]
    return Result(
        question, len(rows), chosen, best.case_id, mine.step_seconds / best.step_seconds,
        None if same else compare_cases(best, mine), seconds[0] * part, seconds[1] * part,
        launches=(launches[0], launches[1]),
    )
