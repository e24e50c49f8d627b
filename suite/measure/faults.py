"""The fault matrix: plants a fault in a rank, and judges what becomes of the launch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from suite.analysis.judging import judge
from suite.analysis.rows import CaseResult
from suite.config.model import RunConfig
from suite.config.starts import AUTO, with_starts
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.faults import MOMENT, PHASES, VARIABLE, WORKER, Fault
from suite.contract.registry import adapters, label, traits_of
from suite.contract.splits.strategies import MULTI_WORKER
from suite.launch.group import Launcher, LaunchRequest, Outcome, launch
from suite.launch.nurseries import renew
from suite.launch.starter import Starter
from suite.measure.availability import unsupported_reason
from suite.measure.leaks import TOKEN, carriers, end_carriers, held
from suite.measure.proofs import Proofs, load_evidence

# The bounds: a dead rank is noticed, and a launch has ended after its timeout.
NOTICED_SECONDS, BEYOND_SECONDS = 2.0, 5.0
# A launch that hangs may take this many times as long as one that ends, and so many seconds more.
PATIENCE, LEAST_PATIENCE_SECONDS = 1.5, 3.0
# One process has to be in its steps for long enough to be hit there.
STEPS, STEPS_ALONE = 3, 1000


@dataclass(frozen=True)
class Finding:
    """What became of one planted fault; seconds since it struck, None where that has no meaning.

    Attributes:
        column: The framework, or ``harness``.
        fault: What was planted.
        where: In which rank and phase.
        status: What the row says, or how the command ended.
        reason: In the row's words.
        noticed_s: Until the harness knew.
        ended_s: Until the last process was gone.
        named: Whether the reason names the rank and the phase.
        survivors: Processes that were left.
        lost: Finished results that are gone.
        next_clean: Whether the next launch went well, and nothing had been left to disturb it.
        problems: The bounds that were left; empty if all is well.
    """

    column: str
    fault: str
    where: str
    status: str
    reason: str
    noticed_s: float | None = None
    ended_s: float | None = None
    named: bool | None = None
    survivors: int = 0
    lost: int = 0
    next_clean: bool | None = None
    problems: list[str] = field(default_factory=list)


def columns(frameworks: list[str], python: dict[str, str]) -> dict[str, tuple[Case, str]]:
    """Name of each column -> its case, and why it cannot run here.

    An engine in data parallel over two devices; where one process drives both, also with a process
    for each.
    """
    found = {}
    for name in frameworks or adapters():
        traits = traits_of(name)
        own = [MULTI_WORKER] if MULTI_WORKER in traits.variants.get("data", ()) else []
        for engine in traits.engines:
            for variant in ["", *own]:
                case = Case(
                    framework=name, engine=engine, strategy="data", variant=variant,
                    workload="mlp", size="tiny", data="real", device="cpu", devices=2,
                    steps=STEPS, probe_steps=0, warmup_limit=PARITY_STEPS,
                )
                named = f"{label(name, engine)} {variant or 'data'}"
                (case,) = with_starts([case], AUTO)
                found[named] = case, unsupported_reason(case, python)
    return found


class FaultBench:
    """Launches with faults, one after another, in ``folder``; ``launcher`` starts a group."""

    def __init__(
        self, config: RunConfig, folder: Path, token: str, launcher: Launcher = launch
    ) -> None:
        self.folder, self.token, self.launcher = folder, token, launcher
        self.starter = Starter(config, folder, self._launch)
        self.proofs = Proofs(self.starter, lambda text: None)
        self.fault: Fault | None = None
        self.patience_s: dict[Case, float] = {}
        self.count = 0

    def _launch(self, request: LaunchRequest) -> Outcome:
        settings = {TOKEN: self.token}
        if not self.fault:
            return self.launcher(replace(request, settings=settings))
        settings[VARIABLE] = self.fault.written()
        timeout = self.patience_s[request.case]
        return self.launcher(replace(request, settings=settings, worker=WORKER,
                                     timeout_seconds=timeout))

    def _start(self, case: Case, fault: Fault | None = None) -> tuple[Outcome, Path]:
        self.count += 1
        folder = self.folder / "cases" / case.case_id / f"launch-{self.count}"
        self.fault = fault
        try:
            return self.starter.start(case, folder), folder
        finally:
            self.fault = None

    def prepare(self, case: Case) -> str:
        """A launch without a fault, which says how long one takes; why it failed, or empty."""
        self.proofs.refer(case)
        outcome, _ = self._start(case)
        self._learn(case, outcome.seconds)
        return "" if outcome.status == "ok" else outcome.reason

    def _learn(self, case: Case, seconds: float) -> None:
        """Gives a launch that hangs more time than whole ones took, the slowest of them too: other
        programs may have come meanwhile.
        """
        own = round(PATIENCE * seconds + LEAST_PATIENCE_SECONDS, 1)
        for steps in (STEPS, STEPS_ALONE):
            key = replace(case, steps=steps)
            self.patience_s[key] = max(own, self.patience_s.get(key, 0.0))

    def plant(self, column: str, case: Case, fault: Fault) -> Finding:
        """Plants one fault, and then launches the case without it."""
        before = held(self.token)
        hit = replace(case, steps=STEPS_ALONE if fault.phase == "collective" else STEPS)
        outcome, folder = self._start(hit, fault)
        trial = Trial(fault, outcome, folder, time.monotonic(), self.patience_s[hit])
        status, reason = self._row(hit, outcome, folder)
        renew(self.launcher)
        survivors = carriers(self.token)
        left = held(self.token).beyond(before)
        end_carriers(self.token)
        again, _ = self._start(case)
        problems = [*trial.problems(status, reason), *left]
        if again.status == "ok":
            self._learn(case, again.seconds)
        else:
            problems.append(f"the next launch {again.status}: {again.reason}")
        return Finding(
            column, fault.kind, f"rank {fault.rank}, {fault.phase}", status, reason,
            noticed_s=trial.noticed_s, ended_s=trial.ended_s, named=trial.named(reason),
            survivors=len(survivors), next_clean=again.status == "ok" and not left,
            problems=problems,
        )

    def _row(self, case: Case, outcome: Outcome, folder: Path) -> tuple[str, str]:
        """Status and reason as a run's row has them: a launch that ended well is proven."""
        result = CaseResult(case, status=outcome.status, reason=outcome.reason)
        if outcome.status == "ok":
            evidence = load_evidence(folder, outcome.records[0]["losses"])
            judge(result, self.proofs.verdict(case, evidence))
        return result.status, result.reason


@dataclass(frozen=True)
class Trial:
    """One launch with a fault, which had ended at ``ended_at_s``."""

    fault: Fault
    outcome: Outcome
    folder: Path
    ended_at_s: float
    timeout_s: float

    @property
    def began_at_s(self) -> float | None:
        """When the fault struck, on the clock of ``time.monotonic``; None if it never did."""
        try:
            text = (self.folder / MOMENT).read_text(encoding="utf-8")
            return float(json.loads(text)["began_at_s"])
        except OSError:
            return None

    @property
    def noticed_s(self) -> float | None:
        """From the fault until the harness knew how the launch ends."""
        began, noticed = self.began_at_s, self.outcome.noticed_at_s
        return None if began is None or not noticed else noticed - began

    @property
    def ended_s(self) -> float | None:
        """From the fault until the launch had ended."""
        return None if self.began_at_s is None else self.ended_at_s - self.began_at_s

    def named(self, reason: str) -> bool | None:
        """Whether the reason says who failed and where; None where every rank does alike."""
        if self.fault.kind == "nan":
            return None
        place = f"rank {self.fault.rank} in {PHASES[self.fault.phase]}"
        return place in reason or f"record rank-{self.fault.rank}.json" in reason

    def problems(self, status: str, reason: str) -> list[str]:
        """The bounds that were left, in words."""
        return [words for words in (
            self._unplanted(), self._wrong_status(status), self._late(), self._unbounded(),
            "the reason does not name rank and phase" if self.named(reason) is False else "",
            self._untold(),
        ) if words]

    def _unplanted(self) -> str:
        return "" if self.began_at_s is not None else "the fault never struck"

    def _wrong_status(self, status: str) -> str:
        expected = " or ".join(self.fault.expected.statuses)
        known = status in self.fault.expected.statuses
        return "" if known else f"the row says {status}, expected {expected}"

    def _late(self) -> str:
        late = self.fault.expected.dies and (self.noticed_s or 0.0) > NOTICED_SECONDS
        return f"noticed later than {NOTICED_SECONDS:g} s" if late else ""

    def _unbounded(self) -> str:
        limit = self.timeout_s + BEYOND_SECONDS
        return f"took longer than {limit:.1f} s" if self.outcome.seconds > limit else ""

    def _untold(self) -> str:
        """A hang that lasts until the timeout leaves every rank's Python stack in the log."""
        if not self.fault.expected.hangs or self.outcome.status != "timeout":
            return ""
        log = (self.folder / "worker.log").read_text(encoding="utf-8", errors="replace")
        told = log.count("Python stack of rank ")
        return "" if told and "not told" not in log else "a rank's Python stack is not in the log"


# One of each way to go wrong: a dead rank, an early end, a hang, and what only a group's end ends.
SHORT = (
    Fault("exit", "rendezvous"), Fault("hang", "warm-up"), Fault("kill", "collective"),
    Fault("grandchild", "measured"),
)


def last_rank(case: Case) -> int:
    """Returns the number of the last process of a case; 0 if one process drives all devices."""
    return 0 if case.placed and case.variant != MULTI_WORKER else case.devices - 1


def with_ranks(faults: list[Fault], case: Case) -> Iterator[Fault]:
    """The same, in the last rank and the first in turns, of those that the case has."""
    last = last_rank(case)
    for number, fault in enumerate(faults):
        yield replace(fault, rank=last if number % 2 == 0 else 0)
