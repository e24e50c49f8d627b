"""How often the answer is wrong where the launches of a run go to its leaders.

    python -m tests.accuracy answer [RUNS]

Each simulated run has 4 or 16 cases that take the same time, or differ by a few per cent. Every
case gets three launches; then the rule of ``--leader-repeats`` decides, block by block, who is
launched again. A run errs where its answer leaves out the case that is truly the fastest. Noise
has the shapes of ``simulation``; cases are equally restless, or up to twenty times as restless as
the calmest, the true winner being the calmest or the most restless of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from suite.analysis.contenders import Ranking, rank
from suite.analysis.ledger import MUST_EQUAL
from suite.contract.row import Row
from suite.measure.stopping import StoppingRule
from tests.accuracy.simulation import NOISES, drift, launches

BASE, MOST = 3, 8
LEDGER = dict.fromkeys(MUST_EQUAL, "same")


def spreads(kind: str, cases: int) -> list[float]:
    """Deviations of the cases' launches; the first case is the true winner."""
    if kind == "equal":
        return [0.05] * cases
    rising = np.exp(np.linspace(np.log(0.02), np.log(0.4), cases)).tolist()
    return rising if kind == "calm winner" else rising[::-1]


@dataclass(frozen=True)
class Answers:
    """Shares of runs that left the true winner out, and that named one winner; mean launches."""

    wrong: float
    decided: float
    launches: float


def answers(
    noise: str, deviations: Sequence[float], behind: float = 0.0, runs: int = 400, seed: int = 0,
    most: int = MOST,
) -> Answers:
    """Of runs whose cases but the first take ``behind`` longer, as a share."""
    generator = np.random.default_rng(seed)
    common = drift((runs, most), generator)
    logs = np.stack([
        common + launches(noise, (runs, most), deviation, generator)
        - float(np.median(launches(noise, (1, 50_000), deviation, generator)))
        + (np.log1p(behind) if number else 0.0)
        for number, deviation in enumerate(deviations)
    ], axis=1)
    ended = [_run(np.exp(one), StoppingRule(BASE, leader_repeats=most)) for one in logs]
    wrong = [found.best.case_id != "0" and "0" not in {row.case_id for row, _ in found.open}
             for found, _ in ended]
    decided = [not found.open for found, _ in ended]
    return Answers(*(float(np.mean(each))
                     for each in (wrong, decided, [count for _, count in ended])))


def _run(seconds: np.ndarray, rule: StoppingRule) -> tuple[Ranking, int]:
    """(cases, blocks) of what a launch would take, to the answer and the launches it took."""
    taken: list[list[float | None]] = [each[:BASE].tolist() for each in seconds]
    for block in range(BASE, seconds.shape[1]):
        chosen = rule.leaders(_rows(taken))
        if not chosen:
            break
        for number, each in enumerate(taken):
            each.append(float(seconds[number, block]) if str(number) in chosen else None)
    found = rank(_rows(taken))
    assert found
    return found, sum(one is not None for each in taken for one in each)


def _rows(taken: Sequence[Sequence[float | None]]) -> list[Row]:
    made = []
    for number, each in enumerate(taken):
        known = [one for one in each if one is not None]
        made.append(Row(
            case_id=str(number), status="ok", strategy="data", devices=2, repeats=len(known),
            step_time_s=float(np.median(known)), launch_step_s=list(each), ledger=LEDGER,
        ))
    return made


def report(runs: int = 400) -> None:
    """Prints how often the answer is wrong, and how often it names one winner."""
    print(f"true winner left out (asked: at most 5 %), launches a run; {runs} runs each")
    _table(lambda noise, cases, kind: answers(noise, spreads(kind, cases), runs=runs))
    print("the others 30 % slower: left out, and one winner named")
    for noise in NOISES:
        found = answers(noise, [0.05] * 16, behind=0.3, runs=runs)
        print(f"  {noise:12} {found.wrong:6.1%} {found.decided:6.1%} {found.launches:5.1f}")


def _table(value: Callable[[str, int, str], Answers]) -> None:
    for cases in (3, 4, 6, 10, 16):
        for kind in ("equal", "calm winner", "restless winner"):
            print(f"{cases:3d} cases, {kind}")
            for noise in NOISES:
                found = value(noise, cases, kind)
                print(f"  {noise:12} {found.wrong:6.1%} {found.launches:5.1f}", flush=True)
