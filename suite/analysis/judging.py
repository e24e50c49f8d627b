"""What a proof does to a case: its status, its reason and its loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult
from suite.contract.files import TableRow


def judge(result: CaseResult, verdict: Verdict | None, lead: str = "") -> None:
    """Applies the verdict on one launch to its case. Every launch must pass.

    Args:
        result: The case. It keeps the verdict with the largest error, and is refused if one
            failed.
        verdict: What the comparison with the reference says; None if there is no reference.
        lead: Words before the reason.
    """
    if verdict is None:
        result.status, result.reason = "refused", "no reference could be computed"
        return
    if result.parity is None or verdict.error > result.parity.error:
        result.parity = verdict
    if verdict.status == "failed":
        result.status, result.reason = "refused", f"{lead}{verdict.reason}"


def apply_proofs(run: dict[str, Any], results: Sequence[CaseResult]) -> None:
    """Applies what the launches in float32 proved to the cases that round more.

    Args:
        run: The content of run.json, with its proofs.
        results: The cases of the run.
    """
    for result in results:
        proof = run.get("proofs", {}).get(result.case.strict.case_id)
        if proof is None or result.case.strict == result.case or result.status == "unsupported":
            continue
        if proof["status"] != "ok":
            result.status, result.reason = proof["status"], f"proof in float32: {proof['reason']}"
            continue
        judge(result, Verdict(**proof["parity"]) if proof["parity"] else None, "in float32 it ")


def loss_rows(case_id: str, losses: Sequence[float], expected: Sequence[float]) -> list[TableRow]:
    """Makes the rows of losses.csv: the losses of the first steps beside those of the reference.

    Args:
        case_id: The case.
        losses: Its losses, one for each step.
        expected: Losses of the reference.
    """
    return [
        {"case_id": case_id, "step": step, "loss": loss, "reference_loss": reference}
        for step, (loss, reference) in enumerate(zip(losses, expected, strict=False))
    ]
