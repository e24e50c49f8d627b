"""What is launched before anything is timed: references, and proofs in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from suite.analysis.judging import apply_proofs
from suite.analysis.rows import CaseResult
from suite.contract.errors import worded
from suite.measure.proofs import Proofs


def prepare_proofs(
    proofs: Proofs, results: Sequence[CaseResult], run: dict[str, Any], save: Callable[[], None]
) -> None:
    """Computes the references, and proves in float32 what is timed in another format.

    Such a proof is made once for a case, however many formats it is timed in. Whatever is raised
    around a reference fails the cases that it was to prove, and no others.

    Args:
        proofs: The references and proofs of the run.
        results: The cases of the run; those that are not ok are left out.
        run: The run's facts, which keep how each proof ended.
        save: Stores them, after each proof.
    """
    for reference_id, case in {r.case.reference_id: r.case for r in _open(results)}.items():
        try:
            proofs.refer(case)
        except Exception as error:  # the other references are computed
            for result in _open(results):
                if result.case.reference_id == reference_id:
                    result.status, result.reason = "failed", f"its reference: {worded(error)}"
    kept = run.setdefault("proofs", {})
    others = [r.case.strict for r in _open(results) if r.case.strict != r.case]
    for strict in {case.case_id: case for case in others}.values():
        if kept.get(strict.case_id, {}).get("status") != "ok":
            kept[strict.case_id] = proofs.prove_strictly(strict)
            save()
    apply_proofs(run, results)


def _open(results: Sequence[CaseResult]) -> list[CaseResult]:
    return [result for result in results if result.status == "ok"]
