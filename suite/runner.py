"""Runs a matrix: reference first, then randomised blocks, saved after every launch."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from suite import environment, store
from suite.analysis.parity import Drift, Evidence, Verdict, check, measure_drift
from suite.analysis.rows import CaseResult, Row, build_rows
from suite.config import RunConfig
from suite.data import load_data
from suite.launch import Outcome, launch, manifest
from suite.spec.case import SCHEMA_VERSION, Case
from suite.spec.workloads import Weights, initial_weights

Launcher = Callable[..., Outcome]


@dataclass(frozen=True)
class Progress:
    """What has just happened, for whoever shows it; seconds left are estimated, None at first."""

    text: str
    done: int
    total: int
    left_s: float | None


class Runner:
    """One run; ``launcher`` starts a group and can be replaced in tests."""

    def __init__(
        self,
        config: RunConfig,
        cases: list[Case],
        folder: Path,
        show: Callable[[Progress], None],
        launcher: Launcher = launch,
        command_line: list[str] | None = None,
    ) -> None:
        self.config, self.folder, self.show, self.launcher = config, folder, show, launcher
        self.cores = environment.allowed_cores()
        self.results = [CaseResult(case) for case in cases]
        self.references: dict[tuple[str, str], Evidence] = {}
        self.drifts: dict[tuple[str, str], Drift] = {}
        self.inputs: dict[tuple[str, str], Path] = {}
        self.losses: list[Row] = []
        self.seconds: list[float] = []
        self.run = {
            "run_id": folder.name,
            "schema_version": SCHEMA_VERSION,
            "environment": environment.describe(),
            "configuration": config.model_dump(),
            "command_line": ["suite", *(command_line or sys.argv[1:])],
            "state": "running",
        }
        store.write_json(folder / "run.json", self.run)

    def execute(self) -> None:
        """All blocks, saved after each launch. A failed case is skipped in later blocks."""
        self._mark_unsupported()
        self.save()
        for key in {(r.case.workload, r.case.size): None for r in self._open()}:
            self._reference(*key)
        total = len(self._open()) * self.config.repeats
        done = 0
        shuffler = random.Random(self.config.seed)
        for block in range(self.config.repeats):
            for result in shuffler.sample(self._open(), len(self._open())):
                self._show(f"block {block + 1}: {result.case.case_id}", done, total)
                self._launch(result, block)
                done += 1
                self.save()
        self._show("done", total, total)

    def finish(self, state: str) -> list[Row]:
        """Writes how the run ended; returns the rows."""
        self.run["state"] = state
        store.write_json(self.folder / "run.json", self.run)
        return self.save()

    def save(self) -> list[Row]:
        """Rewrites the run folder's tables and page."""
        rows = build_rows(self.folder.name, self.results)
        store.write_rows(self.folder, rows)
        columns = store.STEP_COLUMNS
        store.write_table(self.folder / "steps.csv", columns, store.step_rows(self.results))
        store.write_table(self.folder / "losses.csv", store.LOSS_COLUMNS, self.losses)
        from suite.report.html import render

        store.write_atomically(
            self.folder / "report.html", render(self.run, rows, self.losses)
        )
        return rows

    def _open(self) -> list[CaseResult]:
        return [result for result in self.results if result.status == "ok"]

    def _mark_unsupported(self) -> None:
        for result in self.results:
            reason = self._unsupported(result.case)
            if reason:
                result.status, result.reason = "unsupported", reason
            result.oversubscribed = (
                result.case.device == "cpu" and result.case.devices > len(self.cores)
            )

    def _unsupported(self, case: Case) -> str:
        adapter = manifest(case.framework)
        if case.framework not in self.config.python:
            if not environment.installed(list(adapter.DISTRIBUTIONS)):
                return f"{case.framework} is not installed: make run installs it, or give --python"
            problem = adapter.installation_problem(case)
            if problem:
                return f"{problem}: make setup builds it again"
        return adapter.unsupported_reason(case)

    def _show(self, text: str, done: int, total: int) -> None:
        left = float(np.mean(self.seconds)) * (total - done) if self.seconds else None
        self.show(Progress(text, done, total, left))

    def _prepare(self, workload: str, size: str, case: Case) -> None:
        features, targets = load_data(case.spec, case.data, case.seed)
        path = self.folder / "cases" / f"inputs-{workload}-{size}.npz"
        np.savez(path, features=features, targets=targets)
        self.inputs[workload, size] = path

    def _reference(self, workload: str, size: str) -> None:
        """A single device in float64."""
        asked = next(
            r.case for r in self._open() if (r.case.workload, r.case.size) == (workload, size)
        )
        self._prepare(workload, size, asked)
        self._show(f"reference: {workload} {size}", 0, 1)
        evidence = self._single(asked, "float64")
        if evidence:
            self.references[workload, size] = evidence

    def _single(self, asked: Case, dtype: str) -> Evidence | None:
        """One CPU device in the first framework here that offers it."""
        case = replace(
            asked, framework="pytorch", engine="torch", strategy="single", variant="",
            device="cpu", devices=1, dtype=dtype, steps=1, mode="eager",
        )
        if self._unsupported(case):
            case = replace(case, framework="tensorflow", engine="tensorflow")
        if self._unsupported(case):
            return None
        folder = self.folder / "cases" / f"reference.{asked.workload}-{asked.size}"
        outcome = self._start(case, folder, dtype, 0)
        return load_evidence(folder / dtype, outcome) if outcome.status == "ok" else None

    def _drift(self, case: Case, reference: Evidence, initial: Weights) -> Drift:
        """Measured once a workload, and only when a gate asks for it."""
        key = (case.workload, case.size)
        if key not in self.drifts:
            single = self._single(case, "float32")
            self.drifts[key] = measure_drift(single, reference, initial) if single else Drift()
        return self.drifts[key]

    def _start(self, case: Case, folder: Path, name: str, block: int) -> Outcome:
        folder.mkdir(exist_ok=True)
        case.write(folder / "case.json")
        # Cores differ: rotating the map keeps one slow core from always meeting the same rank.
        turned = self.cores[block % len(self.cores) :] + self.cores[: block % len(self.cores)]
        chosen = turned[: case.devices]
        python = self.config.python.get(case.framework, sys.executable)
        inputs = self.inputs[case.workload, case.size]
        return self.launcher(
            case, folder / "case.json", inputs, folder / name, chosen, self.config.timeout, python
        )

    def _launch(self, result: CaseResult, block: int) -> None:
        folder = self.folder / "cases" / result.case.case_id
        outcome = self._start(result.case, folder, f"launch-{block}", block)
        self.seconds.append(outcome.seconds)
        result.launches.append(outcome.records if outcome.status == "ok" else None)
        verdict = None
        if outcome.status == "ok":
            verdict = self._prove(result, load_evidence(folder / f"launch-{block}", outcome))
        else:
            result.status, result.reason = outcome.status, outcome.reason
        ended = {
            "status": outcome.status, "reason": outcome.reason, "seconds": outcome.seconds,
            "parity": asdict(verdict) if verdict else None,
        }
        store.write_json(folder / f"launch-{block}" / "outcome.json", ended)

    def _prove(self, result: CaseResult, evidence: Evidence) -> Verdict | None:
        """Every launch must pass; the worst verdict stays on the row."""
        case = result.case
        reference = self.references.get((case.workload, case.size))
        if reference is None:
            result.status, result.reason = "refused", "no reference could be computed"
            return None
        initial = initial_weights(case.spec, case.seed)
        verdict = check(evidence, reference, initial)
        if verdict.status == "failed":
            drift = self._drift(case, reference, initial)
            verdict = check(evidence, reference, initial, drift)
        if result.parity is None:
            self._keep_losses(case, evidence, reference)
        if result.parity is None or verdict.error > result.parity.error:
            result.parity = verdict
        if verdict.status == "failed":
            result.status, result.reason = "refused", verdict.reason
        return verdict

    def _keep_losses(self, case: Case, evidence: Evidence, reference: Evidence) -> None:
        pairs = zip(evidence.losses, reference.losses, strict=False)
        self.losses += [
            {"case_id": case.case_id, "step": step, "loss": loss, "reference_loss": expected}
            for step, (loss, expected) in enumerate(pairs)
        ]


def load_evidence(folder: Path, outcome: Outcome) -> Evidence:
    """What a launch proves with; its arrays are large and are deleted once read."""
    path = folder / "parity.npz"
    with np.load(path) as arrays:
        parts: dict[str, dict[str, Any]] = {"gradient": {}, "parameter": {}}
        for key in arrays.files:
            kind, name = key.split("/", 1)
            parts[kind][name] = arrays[key]
    path.unlink()
    return Evidence(outcome.records[0]["losses"], parts["gradient"], parts["parameter"])


def exit_code(rows: list[Row]) -> int:
    """0 all ok or unsupported, 1 some failed, 4 a parity check failed."""
    if any(row["parity"] == "failed" for row in rows):
        return 4
    return 0 if all(row["status"] in ("ok", "unsupported") for row in rows) else 1


def new_run_id(now: float | None = None) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
