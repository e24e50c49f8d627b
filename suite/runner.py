"""Runs a matrix: reference first, then randomised blocks, saved after every launch."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from suite import calibration, environment, store
from suite.analysis.doubts import Conditions
from suite.analysis.frontier import FAILED
from suite.analysis.link import LinkFit
from suite.analysis.parity import Drift, Evidence, Verdict, check, measure_drift
from suite.analysis.precision import ROUNDOFF, check_compression, check_precision
from suite.analysis.rows import CaseResult, Row, build_rows
from suite.analysis.traced import reduce_launch
from suite.availability import unsupported_reason
from suite.calibration import Block, Calibration
from suite.config import RunConfig
from suite.data import load_data
from suite.launch import Guard, Outcome, launch
from suite.reading import (
    PROOF,
    StoredRun,
    apply_proofs,
    case_entries,
    judge,
    loss_rows,
    ranks,
)
from suite.spec.case import PARITY_STEPS, SCHEMA_VERSION, Case
from suite.spec.gpus import common_peaks
from suite.spec.workloads import Weights, initial_weights
from suite.stopping import StoppingRule
from suite.storage import Storage, StoredLaunch, compact

Launcher = Callable[..., Outcome]
# Whose single device the others are held against, the first that is here.
REFERENCES = (("pytorch", "torch"), ("tensorflow", "tensorflow"))


@dataclass(frozen=True)
class Progress:
    """What has just happened, for whoever shows it; seconds left are estimated, None at first."""

    text: str
    done: int
    total: int
    left_s: float | None


class Runner:
    """One run, new or ``earlier`` and resumed.

    Tests replace what starts groups, what measures the machine, and the clock.
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
        self.config, self.folder, self.show, self.launcher = config, folder, show, launcher
        self.cores = environment.allowed_cores()
        self.calibrate, self.clock = calibrate or Calibration(self.cores), clock
        self.rule = StoppingRule(config.repeats, config.precision, config.budget)
        self.blocks: list[Block] = []
        self.rows: list[Row] = []
        self.began: float | None = None
        self.results = [CaseResult(case) for case in cases]
        self.references: dict[str, Evidence] = {}
        self.drifts: dict[str, Drift] = {}
        self.inputs: dict[str, Path] = {}
        self.losses: list[Row] = []
        self.proven: set[str] = set()
        self.seconds: list[float] = []
        self.fits: list[LinkFit] = []
        self.run: dict[str, Any] = {
            "run_id": folder.name,
            "schema_version": SCHEMA_VERSION,
            "environment": environment.describe(),
            "configuration": config.model_dump(),
            "command_line": ["suite", *(command_line or sys.argv[1:])],
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "state": "running",
            "plan": [],
        }
        if earlier:
            self._restore(earlier)
        self.storage = Storage(folder)
        self._save_run()

    def _restore(self, earlier: StoredRun) -> None:
        self.run, self.results, self.losses = earlier.run, earlier.results, earlier.losses
        self.proven = {row["case_id"] for row in self.losses}
        self.fits = earlier.fits if earlier.run.get("links_measured") else []
        self.blocks = [Block.read(block) for block in earlier.run["blocks"]]

    def keep_links(self, fits: list[LinkFit]) -> None:
        """What the run's sweep found; a resumed run reads it again from link_fit.csv."""
        self.fits, self.run["links_measured"] = fits, True

    def execute(self) -> None:
        """Reference, then blocks until the stopping rule is met; a failed case is left out."""
        self._mark_unsupported()
        self.save()
        if any(map(self._missing, range(len(self.blocks)))) or self._chosen():
            for case in {r.case.reference_id: r.case for r in self._open()}.values():
                self._reference(case)
            for case in {r.case.strict.case_id: r.case for r in self._open()
                         if r.case.strict != r.case}.values():
                self._prove_strictly(case.strict)
            apply_proofs(self.run, self.results)
        self.began = self.clock() - self.run.get("spent_s", 0.0)
        # Earlier blocks first: a resumed run fills what they lack.
        for number in range(len(self.blocks)):
            self._complete(number)
        while chosen := self._chosen():
            self._block(chosen)
        self._mark_stopped(self.rule.wanted(self.rows))
        self._show("done", 0)

    def _chosen(self) -> list[CaseResult]:
        """Cases of the next block; empty where no block may start any more."""
        if self._must_stop():
            return []
        wanted = self.rule.wanted(self.rows)
        return [r for r in self._open() if not self.blocks or r.case.case_id in wanted]

    def _must_stop(self) -> str:
        """``repeats`` or ``budget``; empty while another block may start."""
        if len(self.blocks) >= self.rule.repeats:
            return "repeats"
        spent = self._spent()
        mean = spent / len(self.blocks) if self.blocks else 0.0
        return "" if not self.blocks or self.rule.affordable(spent, mean) else "budget"

    def _block(self, chosen: list[CaseResult]) -> None:
        """Calibrates, then launches each case once."""
        self.blocks.append(self.calibrate.begin(len(self.blocks)))
        self.run["plan"].append([result.case.case_id for result in chosen])
        self._launch_all(chosen, len(self.blocks) - 1, self.blocks[-1])

    def _complete(self, number: int) -> None:
        missing = self._missing(number)
        if not missing:
            return
        now = self.calibrate.begin(number)
        if not self.blocks[number].seconds:
            self.blocks[number] = now
        self._launch_all(missing, number, now)

    def _missing(self, number: int) -> list[CaseResult]:
        """What an interruption or a failure left out of a block."""
        planned = {*self.run["plan"][number], *self.run["resumed"][-1]["reopened"]}
        return [r for r in self._open() if r.case.case_id in planned and not r.has(number)]

    def _launch_all(self, chosen: list[CaseResult], number: int, block: Block) -> None:
        """In an order of the seed's and the block's own, which a resumed run draws again."""
        self._save_run()
        order = random.Random(f"{self.config.seed}/{number}").sample(chosen, len(chosen))
        for place, result in enumerate(order):
            self._show(f"block {number + 1}: {result.case.case_id}", len(order) - place)
            self._launch(result, number)
            self.save()
        self.calibrate.end(block)
        self.save()

    def _mark_stopped(self, unfinished: set[str]) -> None:
        why = self._must_stop()
        for result in self._open():
            result.stopped = why if result.case.case_id in unfinished else "precision"
        self.run["stopped"] = {
            "by": why if unfinished else "precision" if self._open() else "",
            "blocks": len(self.blocks), "seconds": self._spent(),
        }
        self.save()

    def finish(self, state: str) -> list[Row]:
        """Writes how the run ended; returns the rows."""
        self.run["state"] = state
        rows = self.save()
        store.mend_steps(self.folder, self.storage)
        self.storage.close()
        if state == "complete" and exit_code(rows) == 0:
            for path in (self.folder / "cases").glob("reference.*/*/parity.npz"):
                path.unlink()
        return rows

    def _save_run(self) -> None:
        self.run["blocks"] = [asdict(block) for block in self.blocks]
        self.run["cases"] = case_entries(self.results)
        self.run["spent_s"] = self._spent()
        store.write_json(self.folder / "run.json", self.run)

    def save(self) -> list[Row]:
        """Rewrites the run folder's tables and page; steps.csv only grows."""
        self._save_run()
        peaks = common_peaks(self.run["environment"])
        conditions = Conditions(self.run["blocks"], self.config.precision, self.fits, peaks)
        self.rows = build_rows(self.folder.name, self.results, conditions)
        measured = [row for block in self.blocks for row in block.rows()]
        store.write_table(self.folder / "calibration.csv", calibration.COLUMNS, measured)
        store.write_report(self.folder, self.run, self.rows, self.losses)
        return self.rows

    def _spent(self) -> float:
        """Seconds of all blocks, of earlier sittings too."""
        return self.run.get("spent_s", 0.0) if self.began is None else self.clock() - self.began

    def _open(self) -> list[CaseResult]:
        return [result for result in self.results if result.status == "ok"]

    def _mark_unsupported(self) -> None:
        for result in self.results:
            reason = unsupported_reason(result.case, self.config.python)
            if reason:
                result.status, result.reason = "unsupported", reason
            result.oversubscribed = result.case.oversubscribe or (
                result.case.device == "cpu" and result.case.devices > len(self.cores)
            )

    def _show(self, text: str, certain: int) -> None:
        """Tells what starts now; ``certain`` launches of this block are still to come."""
        done = len(self.seconds)
        mean = float(np.mean(self.seconds)) if self.seconds else None
        unstarted = sum(not result.launches for result in self._open())
        spent = self._spent()
        left = self.rule.left(self.rows, unstarted, certain, mean or 1.0, spent) if certain else 0
        self.show(Progress(text, done, done + left, mean * left if mean else None))

    def _prepare(self, case: Case) -> None:
        if case.workload_id in self.inputs:
            return
        features, targets = load_data(case.spec, case.data, case.seed)
        path = self.folder / "cases" / f"inputs-{case.workload_id}.npz"
        np.savez(path, features=features, targets=targets)
        self.inputs[case.workload_id] = path

    def _reference(self, asked: Case) -> None:
        """A single device in float64."""
        self._prepare(asked)
        self.show(Progress(f"reference: {asked.reference_id}", 0, 1, None))
        evidence = self._single(asked, "float64")
        if evidence:
            self.references[asked.reference_id] = evidence

    def _single(self, asked: Case, dtype: str) -> Evidence | None:
        """One GPU of a run on GPUs, where it can, else one CPU core."""
        folder = self.folder / "cases" / f"reference.{asked.reference_id}" / dtype
        # Kept while the run may have to be resumed; the record is written last.
        records = ranks(folder) if (folder / "parity.npz").exists() else []
        if records:
            return load_evidence(folder, records[0]["losses"], keep=True)
        for device in dict.fromkeys((asked.device, "cpu")):
            case = self._single_case(asked, dtype, device)
            outcome = self._start(case, folder, 0) if case else None
            if outcome and outcome.status == "ok":
                return load_evidence(folder, outcome.records[0]["losses"], keep=True)
        return None

    def _single_case(self, asked: Case, dtype: str, device: str) -> Case | None:
        """Of the first framework here that offers it.

        In float64 a GPU takes a sample at a time, where samples do not see each other: the sum does
        not mind, and a batch's activations may not fit.
        """
        alone = (device, dtype) == ("cuda", "float64") and not asked.spec.batch_statistics
        cases = [
            replace(
                asked, framework=framework, engine=engine, strategy="single", variant="", mesh="",
                device=device, devices=1, dtype=dtype, steps=1, mode="eager", probe_steps=0,
                warmup_limit=PARITY_STEPS, oversubscribe=False, device_speeds=(),
                accumulate=1,
                statistics_groups=asked.spec.global_batch if alone else asked.groups,
            )
            for framework, engine in REFERENCES
        ]
        able = (case for case in cases if not unsupported_reason(case, self.config.python))
        return next(able, None)

    def _drift(self, case: Case, reference: Evidence, initial: Weights) -> Drift:
        """Measured once a reference, and only when a gate asks for it."""
        name = case.reference_id
        if name not in self.drifts:
            single = self._single(case, "float32")
            self.drifts[name] = measure_drift(single, reference, initial) if single else Drift()
        return self.drifts[name]

    def probe(self, case: Case, of: Case, folder: Path, guard: Guard) -> Outcome:
        """A guarded launch of ``case`` that proves nothing, on samples of the case ``of``."""
        self._prepare(of)
        self.inputs[case.workload_id] = self.inputs[of.workload_id]
        return self._start(case, folder, 0, worker="suite.frontier_worker", guard=guard)

    def _start(self, case: Case, folder: Path, block: int, **more: Any) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        case.write(folder / "case.json")
        python = self.config.python.get(case.framework, sys.executable)
        inputs = self.inputs[case.workload_id]
        return self.launcher(
            case, folder / "case.json", inputs, folder, self._cores(case, block),
            self.config.timeout, python, **more,
        )

    def _cores(self, case: Case, block: int) -> list[int]:
        """Cores differ: rotating the map keeps one slow core from always meeting the same rank.

        Speeds that a plan is made for belong to cores, which then stay where they are.
        """
        if case.device_speeds:
            return self.cores[: case.devices]
        turned = self.cores[block % len(self.cores) :] + self.cores[: block % len(self.cores)]
        return turned[: case.devices]

    def _launched(self, case: Case, block: int) -> Case:
        """Only the first launches have probes, and the first keeps the profiler's picture."""
        timeline = self.config.timeline and block == 0
        probed = block < self.config.probes or timeline
        return replace(case, probe_steps=case.probe_steps if probed else 0, timeline=timeline)

    def _launch(self, result: CaseResult, block: int) -> None:
        folder = self.folder / "cases" / result.case.case_id / f"launch-{block}"
        case, cores = self._launched(result.case, block), self._cores(result.case, block)
        outcome = self._start(case, folder, block)
        self.seconds.append(outcome.seconds)
        raw = outcome.records if outcome.status == "ok" else []
        reduced = reduce_launch(case, raw) if raw else None
        result.put(block, compact(raw) or None, cores, reduced)
        verdict = None
        if raw:
            verdict = self._prove(result, load_evidence(folder, outcome.records[0]["losses"]))
        else:
            result.status, result.reason = outcome.status, outcome.reason
        ended = {
            "status": outcome.status, "reason": outcome.reason, "seconds": outcome.seconds,
            "parity": asdict(verdict) if verdict else None, "cores": cores,
        }
        kept = StoredLaunch(case.case_id, block, ended, compact(raw), reduced)
        store.keep_launch(self.folder, self.storage, kept, raw)

    def _prove(self, result: CaseResult, evidence: Evidence) -> Verdict | None:
        case = result.case
        verdict = self._verdict(case, evidence)
        if verdict and case.case_id not in self.proven:
            self.proven.add(case.case_id)
            expected = self.references[case.reference_id].losses
            self.losses += loss_rows(case.case_id, evidence.losses, expected)
        judge(result, verdict)
        return verdict

    def _verdict(self, case: Case, evidence: Evidence) -> Verdict | None:
        """By the gates of float32, or the bounds of another format; None without a reference."""
        reference = self.references.get(case.reference_id)
        if reference is None:
            return None
        initial = initial_weights(case.spec, case.seed)
        if case.dtype in ROUNDOFF:
            return check_precision(evidence, reference, initial, case.dtype)
        if case.compression:
            return check_compression(evidence, reference, initial, case.compression, case.devices)
        verdict = check(evidence, reference, initial)
        if verdict.status == "failed":
            drift = self._drift(case, reference, initial)
            verdict = check(evidence, reference, initial, drift)
        return verdict

    def _prove_strictly(self, strict: Case) -> None:
        """A launch of its own in float32, which is no sample; once a case, whatever its formats."""
        proofs = self.run.setdefault("proofs", {})
        if proofs.get(strict.case_id, {}).get("status") == "ok":
            return
        case = replace(strict, steps=1, probe_steps=0, warmup_limit=PARITY_STEPS)
        folder = self.folder / "cases" / f"{PROOF}{case.case_id}"
        self.show(Progress(f"proof in float32: {case.case_id}", 0, 1, None))
        outcome = self._start(case, folder, 0)
        verdict = None
        if outcome.status == "ok":
            verdict = self._verdict(case, load_evidence(folder, outcome.records[0]["losses"]))
        proofs[strict.case_id] = {
            "status": outcome.status, "reason": outcome.reason,
            "parity": asdict(verdict) if verdict else None,
        }
        self._save_run()


def load_evidence(folder: Path, losses: Sequence[float], keep: bool = False) -> Evidence:
    """What a launch proves with; its arrays are large and are deleted once read, or kept."""
    path = folder / "parity.npz"
    with np.load(path) as arrays:
        parts: dict[str, dict[str, Any]] = {"gradient": {}, "parameter": {}}
        for key in arrays.files:
            kind, name = key.split("/", 1)
            parts[kind][name] = arrays[key]
    if not keep:
        path.unlink()
    return Evidence(losses, parts["gradient"], parts["parameter"])


def exit_code(rows: list[Row]) -> int:
    """0 all ok or unsupported, 1 some failed, 4 a parity check failed."""
    if any(row["parity"] == "failed" for row in rows):
        return 4
    # That a batch does not fit is a finding; that a probe broke down is none.
    broken = any(probe.status == FAILED for row in rows for probe in row.get("frontier", ()))
    return 0 if all(row["status"] in ("ok", "unsupported") for row in rows) and not broken else 1


def new_run_id(now: float | None = None) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
