"""Measures two settings, A and B, in one run: proves both, then launches both in every block."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.comparison import RowComparison
from suite.analysis.judging import judge
from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult
from suite.analysis.sides import (
    compare_sides,
    ledger_differences,
    option_differences,
    setting_differences,
    step_time_of,
)
from suite.analysis.statistics import Interval
from suite.config.model import LEAST_BLOCKS, AbConfig
from suite.config.sides import SidePlan
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import worded
from suite.contract.row import Row
from suite.contract.secrets import masked
from suite.launch.group import Launcher, launch
from suite.machine import description
from suite.machine.calibration import Block, Calibration
from suite.measure.admission import admit
from suite.measure.progress import Progress
from suite.measure.proving import prepare_proofs
from suite.measure.runner import Runner
from suite.measure.stopping import StoppingRule
from suite.report.ab import CSV_COLUMNS, csv_rows
from suite.runfolder import files
from suite.runfolder.reading import AB

SIDES = ("a", "b")
# If so many launches of a side fail one after another, it is given up.
FAILED_IN_A_ROW = 3
Show = Callable[[Progress], None]


class Side(Runner):
    """One side of an A/B run: a run of a single case in a folder of its own.

    The A/B run decides when the side launches. A launch that fails leaves its block without this
    side, and the run goes on. A launch that computes something else than the reference refuses the
    side.
    """

    def __init__(
        self, plan: SidePlan, folder: Path, show: Show, launcher: Launcher = launch
    ) -> None:
        super().__init__(plan.config, [plan.case], folder, show, launcher)
        self.plan, self.failures = plan, list[dict[str, Any]]()
        self.starter.settings = plan.settings
        self.run |= masked({"side": plan.name, "settings": dict(plan.settings)})

    @property
    def result(self) -> CaseResult:
        """The result of the side's only case."""
        return self.results[0]

    @property
    def problem(self) -> str:
        """Why nothing more is launched of this side; empty as long as it may be launched."""
        if self.result.status != "ok":
            return f"{self.result.status}: {self.result.reason}"
        last = [failure["block"] for failure in self.failures[-FAILED_IN_A_ROW:]]
        done = len(self.blocks)
        if last == list(range(done - FAILED_IN_A_ROW, done)):
            return (f"failed: {FAILED_IN_A_ROW} launches one after another, the last "
                    f"{self.failures[-1]['status']}: {self.failures[-1]['reason']}")
        return ""

    @property
    def row(self) -> Row | None:
        """Returns the row of the launches so far, or None if none has finished."""
        return next(iter(self.rows), None)

    def prove(self) -> None:
        """Proves the side in a launch of its own, so that nothing is timed before both sides are
        proven.
        """
        admit(self.results, self.config.python, self.starter.usable_cores)
        self.save()
        prepare_proofs(self.proofs, self.results, self.run, self._save_run)
        if self.result.status == "ok":
            self._prove_itself()
        self.save()

    def _prove_itself(self) -> None:
        self.run["proof"] = proof = self.proofs.prove_strictly(self.plan.case)
        if proof["status"] != "ok":
            self.result.status = proof["status"]
            self.result.reason = f"proof: {proof['reason']}"
            return
        judge(self.result, Verdict(**proof["parity"]) if proof["parity"] else None)

    def launch_in(self, block: Block) -> None:
        """Launches the side once in a block; the launch is on disk when this returns."""
        if self.began is None:
            self.began = self.clock()
        self.blocks.append(block)
        self.run["plan"].append([self.plan.case.case_id])
        self._launch(self.result, block.block)
        if self.result.status not in ("ok", "refused"):
            self.failures.append({"block": block.block, "status": self.result.status,
                                  "reason": self.result.reason})
            self.result.status, self.result.reason = "ok", ""
        self.save()

    def end(self, state: str, stopped: str) -> None:
        """Stores how the side ended.

        Args:
            State: ``complete``, ``failed`` or ``interrupted``.
            stopped: Which rule ended it: ``repeats``, ``precision``, ``budget`` or none.
        """
        self.result.stopped = stopped
        self.run["stopped"] = {"by": stopped, "blocks": len(self.blocks),
                               "seconds": self._spent()}
        self.finish(state)

    def described(self) -> dict[str, Any]:
        """Returns the description of the side for the ``run.json`` of the whole run."""
        found: dict[str, Any] = masked({
            "folder": self.plan.name, "settings": dict(self.plan.settings),
            "case": asdict(self.plan.case), "python": self.config.python,
            "status": self.result.status, "problem": self.problem, "failed": self.failures,
        })
        return found


class AbRun:
    """Measures both sides in one run folder.

    Tests replace the launcher, the calibration and the clock.
    """

    def __init__(
        self, config: AbConfig, plans: tuple[SidePlan, SidePlan], folder: Path, show: Show,
        launcher: Launcher = launch, calibrate: Calibration | None = None,
        clock: Callable[[], float] = time.monotonic, command_line: Sequence[str] = (),
    ) -> None:
        self.config, self.folder, self.show, self.clock = config, folder, show, clock
        self.a, self.b = (Side(plan, folder / plan.name, show, launcher) for plan in plans)
        self.calibrate = calibrate or self.a.calibrate
        self.rule = StoppingRule(config.repeats, config.precision, config.budget)
        self.blocks: list[Block] = []
        self.seconds: list[float] = []
        self.rows: list[RowComparison] = []
        self.unwritten = ""
        self.run: dict[str, Any] = masked({
            "run_id": folder.name, "schema_version": SCHEMA_VERSION, "kind": AB,
            "environment": description.describe(), "configuration": asdict(config),
            "command_line": list(command_line), "started": files.utc_now(), "state": "running",
            "same": plans[0].same_as(plans[1]), "orders": [], "stopped": "",
        })
        self.save()

    @property
    def sides(self) -> tuple[Side, Side]:
        """The sides A and B."""
        return self.a, self.b

    @property
    def problems(self) -> list[str]:
        """Why the run could not go on, with a line for each side that has a problem."""
        return [f"{side.plan.name.upper()} {side.problem}" for side in self.sides if side.problem]

    @property
    def paired(self) -> bool:
        """Whether at least one block holds launches of both sides."""
        step_time = step_time_of(self.rows)
        return bool(step_time and step_time.pairs)

    def execute(self) -> None:
        """Proves both sides, then launches blocks until a rule ends the run or a side has a
        problem.
        """
        self.a.prove()
        if not self.a.problem:
            self.b.proofs.share(self.a.proofs)
            self.b.prove()
        while not self.problems and not self._stopped_by():
            self._block(len(self.blocks))
        self.run["stopped"] = "" if self.problems else self._stopped_by()

    def _stopped_by(self) -> str:
        """Returns ``repeats``, ``precision`` or ``budget``, or "" as long as another block may
        start.
        """
        done = len(self.blocks)
        if done >= self.rule.repeats:
            return "repeats"
        if self._precise():
            return "precision"
        spent = sum(self.seconds)
        return "" if not done or self.rule.affordable(spent, spent / done) else "budget"

    def _precise(self) -> bool:
        found = step_time_of(self.rows)
        if found is None or found.pairs < LEAST_BLOCKS:
            return False
        return Interval(found.change, found.low, found.high).half_width <= self.config.precision

    def _block(self, number: int) -> None:
        """Launches each side once, in an order that depends on the seed and the block's number."""
        began = self.clock()
        self.a.starter.begin_block()
        block = self.calibrate.begin(number)
        self.blocks.append(block)
        order = random.Random(f"{self.config.seed}/{number}").sample(self.sides, 2)
        self.run["orders"].append([side.plan.name for side in order])
        for place, side in enumerate(order):
            self._tell(f"block {number + 1}: {side.plan.name.upper()}", 2 * number + place)
            side.launch_in(block)
        self.calibrate.end(block)
        self.seconds.append(self.clock() - began)
        self.save()

    def _tell(self, text: str, done: int) -> None:
        total = 2 * self.config.repeats
        mean = float(np.mean(self.seconds)) / 2 if self.seconds else None
        self.show(Progress(text, done, total, mean * (total - done) if mean else None))

    def finish(self, state: str) -> None:
        """Stores how the run ended; the tables hold all blocks that have both sides.

        The rows are there even where nothing can be written any more; ``unwritten`` then says why.
        """
        self.run["state"] = state
        for side in self.sides:
            side.end(state, self.run["stopped"])
            self.unwritten = self.unwritten or side.unwritten
        try:
            self.save()
        except OSError as error:
            self.unwritten = worded(error)

    def save(self) -> None:
        """Rewrites ``run.json`` and ``ab.csv`` of the whole run; each side keeps its own folder."""
        rows = [side.row for side in self.sides]
        timed = [row for row in rows if row and row.timed]
        self.rows = compare_sides(*timed) if len(timed) == 2 else []
        self.run["differences"] = self._differences(timed)
        self.run["sides"] = {side.plan.name: side.described() for side in self.sides}
        files.write_table(self.folder / "ab.csv", CSV_COLUMNS, csv_rows(self.rows))
        files.write_json(self.folder / "run.json", self.run)

    def _differences(self, timed: Sequence[Row]) -> list[str]:
        a, b = self.a.plan, self.b.plan
        return [
            *setting_differences(masked(a.settings), masked(b.settings)),
            *option_differences(a.described(), b.described()),
            *(ledger_differences(timed[0], timed[1], a.described()) if len(timed) == 2 else []),
        ]
