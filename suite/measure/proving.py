"""What is launched before anything is timed: references, and proofs in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from suite.analysis.judging import apply_proofs
from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.contract.errors import worded
from suite.measure.proofs import Proofs


def prepare_proofs(
    proofs: Proofs, results: Sequence[CaseResult], run: dict[str, Any], save: Callable[[], None]
) -> None:
    """Computes the references, and proves in float32 what is timed in another format.

    Such a proof is made once for a case, however many formats it is timed in. A model that is too
    large for a reference is proven by its first units, in the case's own format too. Whatever is
    raised around a reference fails the cases that it was to prove, and no others.

    Args:
        proofs: The references and proofs of the run.
        results: The cases of the run; those that are not ok are left out.
        run: The run's facts, which keep how each proof ended.
        save: Stores them, after each proof.
    """
    alike: dict[str, list[Case]] = {}
    for case in (result.case for result in _open(results)):
        alike.setdefault(case.reference_id, []).append(case)
    for reference_id, cases in alike.items():
        try:
            proofs.refer(*cases)
        except Exception as error:  # the other references are computed
            for result in _open(results):
                if result.case.reference_id == reference_id:
                    result.status, result.reason = "failed", f"its reference: {worded(error)}"
    kept = run.setdefault("proofs", {})
    wanted = [one for r in _open(results) for one in (r.case.strict, r.case)
              if one != r.case or proofs.shallow(one)]
    for case in {case.case_id: case for case in wanted}.values():
        if kept.get(case.case_id, {}).get("status") != "ok":
            kept[case.case_id] = proofs.prove_strictly(case)
            save()
    apply_proofs(run, results)


def _open(results: Sequence[CaseResult]) -> list[CaseResult]:
    return [result for result in results if result.status == "ok"]
