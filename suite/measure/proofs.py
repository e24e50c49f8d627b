"""What a run's cases are held against: single devices, launched once and kept for a resumed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.parity import (
    Drift,
    Evidence,
    Verdict,
    check,
    measure_drift,
    unfit_reference,
)
from suite.analysis.rounding import ROUNDOFF, check_compression, check_precision
from suite.contract.case import NO_RECOMPUTE, PARITY_STEPS, STATIC, Case
from suite.contract.records import read_launch
from suite.contract.registry import adapters, load
from suite.contract.workloads import Weights, initial_weights
from suite.launch.starter import Starter
from suite.measure.availability import unsupported_reason
from suite.runfolder.files import PROOF


def references(asked: str) -> list[tuple[str, str]]:
    """(framework, engine) whose single device may compute a reference, the preferred one first.

    The adapter that is to be proven comes last: a reference of another one shares no code with it.
    """
    offered = dict(adapters()) | {asked: load(asked)}
    return [(name, engine) for name, adapter in offered.items()
            for engine in adapter.traits.references]


class Proofs:
    """References in float64, measured drifts, and the proofs in float32 of other formats."""

    def __init__(self, starter: Starter, tell: Callable[[str], None]) -> None:
        self.starter, self.tell = starter, tell
        self.references: dict[str, Evidence] = {}
        self._drifts: dict[str, Drift] = {}
        self._unfit: dict[str, str] = {}  # reference -> why it proves nothing; empty if it does

    def refer(self, asked: Case) -> None:
        """Launches the single device in float64 that ``asked`` is held against, unless known."""
        if asked.reference_id in self.references:
            return
        self.tell(f"reference: {asked.reference_id}")
        evidence = self._single(asked, "float64")
        if evidence:
            self.references[asked.reference_id] = evidence

    def _single(self, asked: Case, dtype: str) -> Evidence | None:
        """One GPU of a run on GPUs, where it can, else one CPU core."""
        folder = self.starter.folder / "cases" / f"reference.{asked.reference_id}" / dtype
        # Kept while the run may have to be resumed; the record is written last.
        records = read_launch(folder) if (folder / "parity.npz").exists() else []
        if records:
            return load_evidence(folder, records[0]["losses"], keep=True)
        for device in dict.fromkeys((asked.device, "cpu")):
            case = self._single_case(asked, dtype, device)
            outcome = self.starter.unset().start(case, folder) if case else None
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
                accumulate=1, recompute=NO_RECOMPUTE, balance=STATIC,
                statistics_groups=asked.spec.global_batch if alone else asked.groups,
            )
            for framework, engine in references(asked.framework)
        ]
        python = self.starter.config.python
        return next((case for case in cases if not unsupported_reason(case, python)), None)

    def _drift(self, case: Case, reference: Evidence, initial: Weights) -> Drift:
        """Measured once a reference, and only when a gate asks for it."""
        name = case.reference_id
        if name not in self._drifts:
            single = self._single(case, "float32")
            self._drifts[name] = measure_drift(single, reference, initial) if single else Drift()
        return self._drifts[name]

    def verdict(self, case: Case, evidence: Evidence) -> Verdict | None:
        """By the gates of float32, or the bounds of another format; None without a reference."""
        reference = self.references.get(case.reference_id)
        if reference is None:
            return None
        initial = initial_weights(case.spec, case.seed)
        if problem := self._problem(case, reference, initial):
            return Verdict("failed", float("inf"), problem)
        if case.dtype in ROUNDOFF:
            return check_precision(evidence, reference, initial, case.dtype)
        if case.compression:
            return check_compression(evidence, reference, initial, case.compression, case.devices)
        verdict = check(evidence, reference, initial)
        if verdict.status == "failed":
            drift = self._drift(case, reference, initial)
            verdict = check(evidence, reference, initial, drift)
        return verdict

    def _problem(self, case: Case, reference: Evidence, initial: Weights) -> str:
        """Why the reference of a case proves nothing, looked at once; empty if it is fit."""
        name = case.reference_id
        if name not in self._unfit:
            self._unfit[name] = unfit_reference(reference, initial)
        return self._unfit[name]

    def prove_strictly(self, strict: Case) -> dict[str, Any]:
        """A launch of its own, which is no sample; how it ended, as run.json has it."""
        case = replace(strict, steps=1, probe_steps=0, warmup_limit=PARITY_STEPS)
        folder = self.starter.folder / "cases" / f"{PROOF}{case.case_id}"
        self.tell(f"proof in {case.dtype}: {case.case_id}")
        outcome = self.starter.start(case, folder)
        verdict = None
        if outcome.status == "ok":
            verdict = self.verdict(case, load_evidence(folder, outcome.records[0]["losses"]))
        return {
            "status": outcome.status, "reason": outcome.reason,
            "parity": asdict(verdict) if verdict else None,
        }


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
