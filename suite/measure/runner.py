"""Runs a matrix: first the reference, then randomised blocks; everything is saved at once."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from suite.analysis.choice import mark_chosen
from suite.analysis.contenders import HALVING
from suite.analysis.doubts import Conditions, common_peaks
from suite.analysis.judging import judge, loss_rows
from suite.analysis.link_fit import LinkFit
from suite.analysis.parity import Evidence, Verdict
from suite.analysis.rows import CaseResult, build_rows
from suite.analysis.traced import reduce_launch
from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.errors import worded
from suite.contract.files import TableRow
from suite.contract.records import read_records
from suite.contract.row import Row
from suite.contract.splits.strategies import AUTO
from suite.launch.group import Launcher, launch
from suite.launch.starter import Starter
from suite.machine import calibration
from suite.machine.calibration import Block, Calibration
from suite.measure import harness_time
from suite.measure.admission import admit
from suite.measure.beginning import new_run
from suite.measure.ending import exit_code
from suite.measure.halving import HalvingRule
from suite.measure.harness_time import HarnessTime
from suite.measure.progress import Progress
from suite.measure.proofs import Proofs, load_evidence
from suite.measure.proving import prepare_proofs
from suite.measure.stopping import StoppingRule
from suite.runfolder import files
from suite.runfolder.reading import StoredRun
from suite.runfolder.samples import SampleStore, StoredLaunch, compact

# What a case compiles, while its launches are being made.
COMPILED = "compiled"


class Runner:
    """A run, either new or resumed from ``earlier``.

    Tests replace the function that starts groups, the one that measures the machine, and the clock.
    """

    def __init__(
        self,
        config: RunConfig,
        cases: list[Case],
        folder: Path,
        show: Callable[[Progress], None],
        launcher: Launcher = launch,
        command_line: list[str] | None = None,
        calibrate: Calibration | None = None,
        clock: Callable[[], float] = time.monotonic,
        earlier: StoredRun | None = None,
    ) -> None:
        self.config, self.folder, self.show = config, folder, show
        self.starter = Starter(config, folder, launcher)
        self.proofs = Proofs(self.starter, lambda text: show(Progress(text, 0, 1, None)))
        self.calibrate, self.clock = calibrate or Calibration(self.starter.cores), clock
        rule = HalvingRule if self.automatic else StoppingRule
        self.rule = rule(config.repeats, config.precision, config.budget, config.leader_repeats)
        self.blocks: list[Block] = []
        self.rows, self.rows_left = list[Row](), 0
        self.unwritten = ""
        self.began: float | None = None
        self.results = [CaseResult(case) for case in cases]
        self.losses: list[TableRow] = []
        self.proven: set[str] = set()
        self.seconds: list[float] = []
        self.fits: list[LinkFit] = []
        self.run = new_run(folder.name, config, command_line or sys.argv[1:])
        if earlier:
            self._restore(earlier)
        self.own = HarnessTime(self.run.setdefault("harness_s", {}))
        self.store = SampleStore(folder)
        self._save_run()

    def _restore(self, earlier: StoredRun) -> None:
        self.run, self.results, self.losses = earlier.run, earlier.results, earlier.losses
        self.proven = {row["case_id"] for row in self.losses}
        self.fits = earlier.fits if earlier.run.get("links_measured") else []
        self.blocks = [Block.read(block) for block in earlier.run["blocks"]]

    @property
    def automatic(self) -> bool:
        """Whether the run chooses a way by itself."""
        return AUTO in self.config.strategy

    def keep_links(self, fits: list[LinkFit]) -> None:
        """Keeps the fits of the run's links; a resumed run reads them from ``link_fit.csv``."""
        self.fits, self.run["links_measured"] = fits, True

    def execute(self) -> None:
        """Makes the proofs, then runs blocks until a rule ends the run; leaves out what failed."""
        admit(self.results, self.config.python, self.starter.usable_cores)
        self.save()
        if any(map(self._missing, range(len(self.blocks)))) or self._chosen():
            with self.own.of(harness_time.REFERENCES):
                prepare_proofs(self.proofs, self.results, self.run, self._save_run)
        self.began = self.clock() - self.run.get("spent_s", 0.0)
        # A resumed run first makes up for the launches that its earlier blocks lack.
        for number in range(len(self.blocks)):
            self._complete(number)
        while chosen := self._chosen():
            self._block(chosen)
        self._mark_stopped(self.rule.wanted(self.rows))
        self._show("done", 0)

    def _chosen(self) -> list[CaseResult]:
        """Returns the cases of the next block; none if no further block may start."""
        if not self.blocks:
            return self._open()
        spent = self._spent()
        if not self.rule.affordable(spent, spent / len(self.blocks)):
            return []
        wanted = set() if self._repeated() else self.rule.wanted(self.rows)
        wanted = wanted or self.rule.leaders(self.rows)
        return [result for result in self._open() if result.case.case_id in wanted]

    def _repeated(self) -> bool:
        return len(self.blocks) >= self.rule.repeats

    def _block(self, chosen: list[CaseResult]) -> None:
        """Measures the machine, then launches each case once."""
        self.blocks.append(self._begin(chosen, len(self.blocks)))
        self.run["plan"].append([result.case.case_id for result in chosen])
        self._launch_all(chosen, len(self.blocks) - 1, self.blocks[-1])

    def _begin(self, chosen: Sequence[CaseResult], number: int) -> Block:
        with self.own.of(harness_time.IMPORTS):
            self.starter.begin_block((result.case for result in chosen), bool(self.seconds))
        with self.own.of(harness_time.CALIBRATION):
            return self.calibrate.begin(number)

    def _complete(self, number: int) -> None:
        missing = self._missing(number)
        if not missing:
            return
        now = self._begin(missing, number)
        if not self.blocks[number].seconds:
            self.blocks[number] = now
        self._launch_all(missing, number, now)

    def _missing(self, number: int) -> list[CaseResult]:
        """Returns the cases that an interruption or a failure left out of a block."""
        planned = {*self.run["plan"][number], *self.run["resumed"][-1]["reopened"]}
        return [r for r in self._open() if r.case.case_id in planned and not r.has(number)]

    def _launch_all(self, chosen: list[CaseResult], number: int, block: Block) -> None:
        """Launches cases in an order that depends on seed and block, so that a resumed run repeats
        it.
        """
        self._save_run()
        order = random.Random(f"{self.config.seed}/{number}").sample(chosen, len(chosen))
        for place, result in enumerate(order):
            self._show(f"block {number + 1}: {result.case.case_id}", len(order) - place)
            self._launch(result, number)
            if self.own.affordable(harness_time.SAVING, *harness_time.SAVING_AT_MOST):
                self.save()
        self.calibrate.end(block)
        self.save()

    def _mark_stopped(self, unfinished: set[str]) -> None:
        why = "repeats" if self._repeated() else "budget"
        left_out = self.rule.left_out(self.rows)
        for result in self._open():
            result.stopped = (HALVING if result.case.case_id in left_out else
                              why if result.case.case_id in unfinished else "precision")
        self.run["stopped"] = {
            "by": why if unfinished else "precision" if self._open() else "",
            "blocks": len(self.blocks), "seconds": self._spent(),
        }
        self.save()

    def finish(self, state: str) -> list[Row]:
        """Stores how the run ended, and returns its rows.

        Rows are returned even where nothing can be written any more; ``unwritten`` then says why.
        """
        self.run["state"] = state
        try:
            self.save()
            files.mend_steps(self.folder, self.store)
        except (OSError, sqlite3.Error) as error:
            self.unwritten = worded(error)
        self.store.close()
        for compiled in (self.folder / "cases").glob(f"*/{COMPILED}"):
            shutil.rmtree(compiled, ignore_errors=True)
        if state == "complete" and not self.unwritten and exit_code(self.rows) == 0:
            for path in (self.folder / "cases").glob("reference.*/*/parity.npz"):
                path.unlink()
        return self.rows

    def _save_run(self) -> None:
        self.run["blocks"] = [asdict(block) for block in self.blocks]
        self.run["cases"] = files.case_entries(self.results)
        self.run["spent_s"] = self._spent()
        files.write_json(self.folder / "run.json", self.run)

    def save(self) -> list[Row]:
        """Rewrites the tables and the page of the run folder; ``steps.csv`` only grows."""
        with self.own.of(harness_time.SAVING):
            return self._save()

    def _save(self) -> list[Row]:
        peaks = common_peaks(self.run["environment"])
        blocks = [asdict(block) for block in self.blocks]
        conditions = Conditions(blocks, self.config.precision, self.fits, peaks)
        self.rows = build_rows(self.folder.name, self.results, conditions)
        if self.automatic:
            mark_chosen(self.rows)
        self.rows_left = self.rule.rows_left(self.rows)
        self._save_run()
        measured = [row for block in self.blocks for row in block.rows()]
        files.write_table(self.folder / "calibration.csv", calibration.COLUMNS, measured)
        files.write_balance(self.folder, self.results)
        files.write_report(self.folder, self.run, self.rows, self.losses)
        return self.rows

    def _spent(self) -> float:
        """Returns the seconds of all blocks, including those before the run was resumed."""
        return self.run.get("spent_s", 0.0) if self.began is None else self.clock() - self.began

    def _open(self) -> list[CaseResult]:
        return [result for result in self.results if result.status == "ok"]

    def _show(self, text: str, certain: int) -> None:
        """Tells what starts now; ``certain`` launches of this block are still to come."""
        done = len(self.seconds)
        mean = sum(self.seconds) / done if self.seconds else None
        unstarted = sum(not result.launches for result in self._open())
        left = 0 if not certain else self.rule.left(
            self.rows_left, unstarted, certain, mean or 1.0, self._spent())
        self.show(Progress(text, done, done + left, mean * left if mean else None))

    def _launched(self, case: Case, block: int) -> Case:
        """Returns the case with the probes and the timeline that this launch of it has, if any."""
        timeline = self.config.timeline and block == 0
        probed = block < self.config.probes or timeline
        return replace(
            case, probe_steps=case.probe_steps if probed else 0, timeline=timeline,
            proof_arrays=not self.proofs.shallow(case),
        )

    def _launch(self, result: CaseResult, block: int) -> None:
        """Launches a case; whatever is raised around its launch is this case's failure alone."""
        try:
            self._launch_and_keep(result, block)
        except Exception as error:  # the other cases run, and the reason is in the row
            result.put(block, None, [], None)
            result.status, result.reason = "failed", f"around launch {block}: {worded(error)}"

    def _launch_and_keep(self, result: CaseResult, block: int) -> None:
        folder = self.folder / "cases" / result.case.case_id / f"launch-{block}"
        case, cores = self._launched(result.case, block), self.starter.cores_of(result.case, block)
        outcome = self.starter.start(case, folder, block, kept=folder.parent / COMPILED)
        self.seconds.append(outcome.seconds)
        finished = outcome.status == "ok"
        raw = read_records(outcome.records) if finished else []
        reduced = reduce_launch(case, raw) if raw else None
        result.put(block, compact(raw) or None, cores, reduced, outcome.seconds)
        verdict = None
        if raw:
            with self.own.of(harness_time.JUDGING):
                verdict = self._prove(result, load_evidence(folder, raw[0].losses))
        else:
            result.status, result.reason = outcome.status, outcome.reason
        ended = {
            "status": outcome.status, "reason": outcome.reason, "seconds": outcome.seconds,
            "parity": asdict(verdict) if verdict else None, "cores": cores,
            "unproven": self.proofs.missing(result.case),
        }
        kept = StoredLaunch(case.case_id, block, ended, compact(raw), reduced)
        files.keep_launch(self.folder, self.store, kept, raw)

    def _prove(self, result: CaseResult, evidence: Evidence) -> Verdict | None:
        case = result.case
        verdict = self.proofs.verdict(case, evidence)
        if verdict and case.case_id not in self.proven:
            self.proven.add(case.case_id)
            expected = self.proofs.expected_losses(case)
            self.losses += loss_rows(case.case_id, evidence.losses, expected)
        judge(result, verdict, missing=self.proofs.missing(case))
        return verdict
