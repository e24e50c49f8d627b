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
from suite.analysis.rounding import (
    ROUNDOFF,
    check_compression,
    check_losses,
    check_precision,
)
from suite.contract.case import NO_RECOMPUTE, PARITY_STEPS, STATIC, STRONG, Case
from suite.contract.records import read_launch
from suite.contract.registry import adapters, load
from suite.contract.splits.division import division_problem
from suite.contract.workloads import Weights, initial_weights
from suite.launch.group import Outcome
from suite.launch.starter import Starter
from suite.measure.availability import unsupported_reason
from suite.measure.proof_limits import ProofLimits
from suite.measure.shallow import Shallow, depths
from suite.runfolder.files import PROOF

# How a launch ends that takes too much; the first was not made.
HOPELESS = "hopeless"
TOO_MUCH = (HOPELESS, "oom", "timeout")


def references(asked: str) -> list[tuple[str, str]]:
    """Returns framework and engine of the adapters that may compute a reference, the best first.

    The adapter ``asked`` that is to be proven comes last, because a reference of another adapter
    shares no code with it.
    """
    offered = dict(adapters()) | {asked: load(asked)}
    return [(name, engine) for name, adapter in offered.items()
            for engine in adapter.traits.references]


class Proofs:
    """Keeps the float64 references, the measured drifts, and the proofs of other formats.

    A model whose reference takes too much memory or time is proven by its first units: reference
    and case are launched once more with those alone, at full width. The whole model then has to
    have the losses of one device in float32, if one device can hold it.
    """

    def __init__(self, starter: Starter, tell: Callable[[str], None]) -> None:
        self.starter, self.tell = starter, tell
        self.references: dict[str, Evidence] = {}
        self._shallow: dict[str, Shallow] = {}
        self._missing: dict[str, str] = {}
        self._too_large: set[str] = set()
        self._drifts: dict[str, Drift] = {}
        self._unfit: dict[str, str] = {}  # why a reference proves nothing; empty if it does

    def refer(self, asked: Case, *others: Case) -> None:
        """Launches the reference with which cases are compared, unless that has happened.

        Args:
            asked: A case.
            others: Further cases with the same reference.
        """
        if asked.reference_id in self.references or self.shallow(asked):
            return
        self.tell(f"reference: {asked.reference_id}")
        if evidence := self._single(asked, "float64"):
            self.references[asked.reference_id] = evidence
            return
        # What fails otherwise would fail of fewer units too.
        cases = [case for case in (asked, *others) if depths([case])]
        too_large = cases and asked.reference_id in self._too_large
        for depth in depths(cases) if too_large else ():
            part = replace(asked, depth=depth)
            self.tell(f"reference: {part.reference_id}")
            if evidence := self._single(part, "float64"):
                self.references[part.reference_id] = evidence
                whole = self._single(asked, "float32", arrays=False)
                self._shallow[asked.reference_id] = Shallow(
                    depth, len(part.spec.units()), len(asked.spec.units()),
                    whole.losses if whole else [],
                )
                return

    def share(self, other: Proofs) -> None:
        """Takes over what another run's proofs are held against."""
        self.references |= other.references
        self._shallow |= other._shallow

    def shallow(self, case: Case) -> Shallow | None:
        """How a case is proven that is too large as a whole; None of others.

        A case that has more stages than the shallower model has units cannot be proven by it.
        """
        found = self._shallow.get(case.reference_id)
        fits = found and not division_problem(replace(case, depth=found.depth))
        return found if fits else None

    def missing(self, case: Case) -> str:
        """Why there is no reference for a case; empty if there is one."""
        if case.reference_id in self.references or self.shallow(case):
            return ""
        said = self._missing.get(case.reference_id, "")
        return said if depths([case]) or not said else f"{said}; nor has a shallower {case.size} " \
            f"of {case.workload} fewer units and enough for {case.strategy}"

    def expected_losses(self, case: Case) -> Sequence[float]:
        """Losses of the whole model on one device; empty if no device could compute them."""
        shallow = self.shallow(case)
        return shallow.losses if shallow else self.references[case.reference_id].losses

    def _single(self, asked: Case, dtype: str, arrays: bool = True) -> Evidence | None:
        """One GPU of a run on GPUs, where it can, else one CPU core."""
        folder = self.starter.folder / "cases" / f"reference.{asked.reference_id}" / dtype
        # Kept while the run may have to be resumed; the record is written last.
        kept = not arrays or (folder / "parity.npz").exists()
        records = read_launch(folder) if kept and folder.exists() else []
        if records:
            return load_evidence(folder, records[0]["losses"], keep=True)
        said: list[Outcome] = []
        for device in dict.fromkeys((asked.device, "cpu")):
            case = self._single_case(asked, dtype, device)
            if case is None:
                continue
            outcome = self._start(replace(case, proof_arrays=arrays), folder)
            if outcome.status == "ok":
                return load_evidence(folder, outcome.records[0]["losses"], keep=True)
            said.append(outcome)
        if said:
            name = replace(asked, depth=0).reference_id
            lead = f"with {len(asked.spec.units())} units " if asked.depth else ""
            reasons = [self._missing.get(name), *(lead + outcome.reason for outcome in said)]
            self._missing[name] = "; ".join(filter(None, reasons))
            if any(outcome.status in TOO_MUCH for outcome in said):
                self._too_large.add(name)
        return None

    def _start(self, case: Case, folder: Path) -> Outcome:
        """Launches one device, unless that is hopeless here."""
        limits = ProofLimits(self.starter.config, self.starter.bounds)
        if problem := limits.problem(case):
            return Outcome(HOPELESS, problem, 0.0, [])
        return self.starter.unset().start(
            case, folder, guard=limits.guard(case), seconds=limits.seconds(case)
        )

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
                scaling=STRONG, transport="",
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
        shallow = self.shallow(case)
        if shallow:
            return replace(check_losses(evidence.losses, shallow.losses, case), proof=shallow.text)
        reference = self.references.get(case.reference_id)
        if reference is None:
            return None
        whole = self.shallow(replace(case, depth=0)) if case.depth else None
        proof = whole.text if whole else "float64"
        return replace(self._verdict(case, evidence, reference), proof=proof)

    def _verdict(self, case: Case, evidence: Evidence, reference: Evidence) -> Verdict:
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
        """Proves ``strict`` in a launch that is no sample; a large model by its first units.

        Returns how it ended, for ``run.json``.
        """
        shallow = self.shallow(strict)
        case = replace(strict, steps=1, probe_steps=0, warmup_limit=PARITY_STEPS,
                       depth=shallow.depth if shallow else 0)
        folder = self.starter.folder / "cases" / f"{PROOF}{case.case_id}"
        self.tell(f"proof in {case.dtype}: {case.case_id}")
        outcome = self.starter.start(case, folder)
        verdict = None
        if outcome.status == "ok":
            verdict = self.verdict(case, load_evidence(folder, outcome.records[0]["losses"]))
        return {
            "status": outcome.status, "reason": outcome.reason,
            "parity": asdict(verdict) if verdict else None,
            "depth": shallow.units if shallow else 0, "unproven": self.missing(strict),
        }


def load_evidence(folder: Path, losses: Sequence[float], keep: bool = False) -> Evidence:
    """Reads what a launch left for the proof.

    Its arrays are large, so they are deleted once they have been read. A launch that was asked for
    no arrays has left its losses alone.

    Args:
        folder: The folder of the launch.
        losses: The losses of its first steps.
        keep: Whether to keep the arrays.
    """
    path = folder / "parity.npz"
    if not path.exists():
        return Evidence(losses, {}, {})
    with np.load(path) as arrays:
        parts: dict[str, dict[str, Any]] = {"gradient": {}, "parameter": {}}
        for key in arrays.files:
            kind, name = key.split("/", 1)
            parts[kind][name] = arrays[key]
    if not keep:
        path.unlink()
    return Evidence(losses, parts["gradient"], parts["parameter"])
