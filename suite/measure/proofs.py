"""Compares a run's cases with single devices, which are launched once and kept on disk."""

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
    """Returns framework and engine of the adapters that may compute a reference, the best first.

    The adapter ``asked`` that is to be proven comes last, because a reference of another adapter
    shares no code with it.
    """
    offered = dict(adapters()) | {asked: load(asked)}
    return [(name, engine) for name, adapter in offered.items()
            for engine in adapter.traits.references]


class Proofs:
    """Keeps the float64 references, the measured drifts, and the proofs of other formats."""

    def __init__(self, starter: Starter, tell: Callable[[str], None]) -> None:
        self.starter, self.tell = starter, tell
        self.references: dict[str, Evidence] = {}
        self._drifts: dict[str, Drift] = {}
        self._unfit: dict[str, str] = {}  # why a reference proves nothing; empty if it does

    def refer(self, asked: Case) -> None:
        """Launches the float64 single device with which ``asked`` is compared, unless that has
        happened.
        """
        if asked.reference_id in self.references:
            return
        self.tell(f"reference: {asked.reference_id}")
        evidence = self._single(asked, "float64")
        if evidence:
            self.references[asked.reference_id] = evidence

    def _single(self, asked: Case, dtype: str) -> Evidence | None:
        """Launches a single device: a GPU if the run uses GPUs and one can do it, else a core."""
        folder = self.starter.folder / "cases" / f"reference.{asked.reference_id}" / dtype
        # The launch is kept in case the run has to be resumed. Its record is written last.
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
        """Returns the single-device case of the first framework here that offers the format.

        In float64 a GPU takes one sample at a time if the samples of a workload do not depend on
        each other: their sum is the same, and the activations of a whole batch may not fit in
        memory.
        """
        alone = (device, dtype) == ("cuda", "float64") and not asked.spec.batch_statistics
        cases = [
            replace(
                asked, framework=framework, engine=engine, strategy="single", variant="", mesh="",
                device=device, devices=1, dtype=dtype, steps=1, mode="eager", probe_steps=0,
                warmup_limit=PARITY_STEPS, oversubscribe=False, device_speeds=(),
                accumulate=1, hosts=1, recompute=NO_RECOMPUTE, balance=STATIC,
                statistics_groups=asked.spec.global_batch if alone else asked.groups,
            )
            for framework, engine in references(asked.framework)
        ]
        python = self.starter.config.python
        return next((case for case in cases if not unsupported_reason(case, python)), None)

    def _drift(self, case: Case, reference: Evidence, initial: Weights) -> Drift:
        """Measures how far rounding drifts from a reference.

        Once for each, and only if a gate needs it.
        """
        name = case.reference_id
        if name not in self._drifts:
            single = self._single(case, "float32")
            self._drifts[name] = measure_drift(single, reference, initial) if single else Drift()
        return self._drifts[name]

    def verdict(self, case: Case, evidence: Evidence) -> Verdict | None:
        """Judges a case by the gates of float32, or by the bounds of another format.

        Args:
            case: The case.
            evidence: What its launch left for the proof.

        Returns:
            The verdict, or None if there is no reference.
        """
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
        """Returns why the reference of a case proves nothing.

        Empty if it is fit. It is judged only once.
        """
        name = case.reference_id
        if name not in self._unfit:
            self._unfit[name] = unfit_reference(reference, initial)
        return self._unfit[name]

    def prove_strictly(self, strict: Case) -> dict[str, Any]:
        """Proves ``strict`` in a launch that is no sample.

        Returns how it ended, for ``run.json``.
        """
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
    """Reads what a launch left for the proof.

    Its arrays are large, so they are deleted once they have been read.

    Args:
        folder: The folder of the launch.
        losses: The losses of its first steps.
        keep: Whether to keep the arrays.
    """
    path = folder / "parity.npz"
    with np.load(path) as arrays:
        parts: dict[str, dict[str, Any]] = {"gradient": {}, "parameter": {}}
        for key in arrays.files:
            kind, name = key.split("/", 1)
            parts[kind][name] = arrays[key]
    if not keep:
        path.unlink()
    return Evidence(losses, parts["gradient"], parts["parameter"])
